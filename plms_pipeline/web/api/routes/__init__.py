"""The HTTP application: its routes, errors and OpenAPI document."""
