"""The management plane: Azure Resource Manager for the kinds of resources that are emulated."""
