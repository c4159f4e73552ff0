"""The storage account: blobs on disk, and the blob service over HTTP."""
