"""The management plane: Azure Resource Manager for the emulated types of resources, and files."""
