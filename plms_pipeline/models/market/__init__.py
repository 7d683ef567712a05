"""What do we know of a market, and may it be believed?"""
