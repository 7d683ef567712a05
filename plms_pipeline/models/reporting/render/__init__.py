"""How does a report become HTML, Markdown and pictures?"""
