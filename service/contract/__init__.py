"""The vocabulary that crosses HTTP. Imports pydantic and nothing of ours."""
