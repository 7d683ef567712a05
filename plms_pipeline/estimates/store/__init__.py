"""Which statements read receipts and keep what was learnt from them?"""
