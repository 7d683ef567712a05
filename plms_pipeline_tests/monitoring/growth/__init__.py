"""Does a purge make room without taking anything that anybody needs?"""
