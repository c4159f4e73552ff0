"""The storage account: blobs on disk, the blob service over HTTP, and assets that lie in it."""
