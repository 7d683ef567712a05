"""What does the whole installation count and owe, for whoever scrapes it? (`plms exporter`)"""
