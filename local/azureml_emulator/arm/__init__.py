"""The management plane: Azure Resource Manager for the kinds that are emulated, and their files."""
