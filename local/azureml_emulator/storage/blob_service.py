"""The blob service over HTTP: what ``azure-storage-blob`` asks for when the SDK uses it.

Requests are opened by a shared access signature, by the account's key (``SharedKey``), which
``workspaces.get_keys()`` answers, or by a token (``Authorization: Bearer``).
"""

from __future__ import annotations

import base64
import hashlib
import re
from email.utils import formatdate
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from azureml_emulator.account import Account
from azureml_emulator.errors import StorageError
from azureml_emulator.identity import tokens
from azureml_emulator.routing import Call, Route
from azureml_emulator.storage import _shared_key, sas
from azureml_emulator.storage.blobs import Blob, BlobStore

__all__ = ["Storage"]

METADATA = "x-ms-meta-"
LIST_SIZE = 5000
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_BLOCK = re.compile(r"<(?:Latest|Uncommitted|Committed)>([^<]+)</")


class Storage:
    """Serves a blob store under the host name of the account's storage account."""

    def __init__(self, account: Account, blobs: BlobStore) -> None:
        self._account, self._blobs = account, blobs

    def routes(self) -> list[Route]:
        """Return the routes."""
        host, container, blob = self._account.blob_host, "/{container}", "/{container}/{names:blob}"
        return [
            Route("HEAD", host, blob, self._head),
            Route("GET", host, blob, self._get),
            Route("PUT", host, blob, self._put),
            Route("DELETE", host, blob, self._delete),
            Route("GET", host, container, self._get_container),
            Route("HEAD", host, container, self._get_container),
            Route("PUT", host, container, self._put_container),
        ]

    def _authorise(self, call: Call, permission: str) -> None:
        given = call.headers.get("authorization", "")
        if "sig" in call.query:
            sas.check(
                call.query,
                account=self._account.storage_account,
                key=self._account.storage_key,
                container=call["container"],
                blob=call.parameters.get("blob", ""),
                permission=permission,
            )
        elif given.startswith("Bearer "):
            tokens.check(given, audience="https://storage.azure.com", error=_no_access)
        elif given.startswith("SharedKey "):
            account = self._account.storage_account
            text = _shared_key.text_to_sign(
                account, call.request.method, call.path, call.query, call.headers
            )
            _shared_key.check(given, text, account=account, key=self._account.storage_key)
        else:
            raise _no_access("there is neither a signature, a key nor a token")

    def _blob(self, call: Call) -> Blob:
        blob = self._blobs.get(call["container"], call["blob"])
        if blob is None:
            self._require_container(call)
            raise StorageError(404, "BlobNotFound", "The specified blob does not exist.")
        return blob

    def _require_container(self, call: Call) -> None:
        if not self._blobs.has_container(call["container"]):
            raise StorageError(404, "ContainerNotFound", "The specified container does not exist.")

    def _head(self, call: Call) -> Response:
        self._authorise(call, "r")
        blob = self._blob(call)
        headers = {**_headers(blob), "Content-Length": str(blob.size)}
        return Response(headers=headers, content_type=blob.content_type)

    def _get(self, call: Call) -> Response:
        self._authorise(call, "r")
        blob = self._blob(call)
        headers = _headers(blob)
        wanted = call.headers.get("x-ms-range") or call.headers.get("range")
        match = _RANGE.fullmatch(wanted or "")
        if match is None:
            headers["Content-Length"] = str(blob.size)
            return Response(blob.pieces(), headers=headers, content_type=blob.content_type)
        start = int(match[1])
        if start >= blob.size:
            raise StorageError(
                416,
                "InvalidRange",
                "The range specified is invalid for the current size of the resource.",
                headers={"Content-Range": f"bytes */{blob.size}"},
            )
        end = min(int(match[2]) + 1 if match[2] else blob.size, blob.size)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
        headers["Content-Length"] = str(end - start)
        return Response(
            blob.pieces(start, end), status=206, headers=headers, content_type=blob.content_type
        )

    def _put(self, call: Call) -> Response:
        self._authorise(call, "wc")
        container, name = call["container"], call["blob"]
        headers, what = call.headers, call.query.get("comp")
        metadata = {
            key.removeprefix(METADATA): value
            for key, value in headers.items()
            if key.startswith(METADATA)
        }
        content_type = headers.get("x-ms-blob-content-type", "application/octet-stream")
        overwrite, md5 = headers.get("if-none-match") != "*", headers.get("content-md5")
        if what == "block":
            if not call.query.get("blockid"):
                raise _bad_query("blockid", "")
            found = self._blobs.put_block(
                container, name, call.query["blockid"], call.request.stream, md5=md5
            )
            return Response(
                status=201,
                headers={"Content-MD5": found, "x-ms-request-server-encrypted": "true"},
            )
        if what == "blocklist":
            body = call.request.get_data()
            blob = self._blobs.put_blocks(
                container,
                name,
                _BLOCK.findall(body.decode(errors="replace")),
                metadata=metadata,
                content_type=content_type,
                overwrite=overwrite,
            )
            # Here the answer's MD5 is that of the list, not that of the blob.
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            return _written(blob, 201, md5=base64.b64encode(digest).decode())
        if what == "metadata":
            changed = self._blobs.set_metadata(container, name, metadata)
            return _written(changed or self._blob(call), 200)
        if what is not None or headers.get("x-ms-blob-type", "BlockBlob") != "BlockBlob":
            kind = what or headers["x-ms-blob-type"]
            raise _unsupported(f"PUT of '{kind}'")
        if "x-ms-copy-source" in headers:
            raise _unsupported("a copy from another address")
        blob = self._blobs.put(
            container,
            name,
            call.request.stream,
            metadata=metadata,
            content_type=content_type,
            overwrite=overwrite,
            md5=md5,
        )
        return _written(blob, 201)

    def _delete(self, call: Call) -> Response:
        self._authorise(call, "d")
        self._blob(call)
        self._blobs.delete(call["container"], call["blob"])
        return Response(status=202, headers={"x-ms-delete-type-permanent": "true"})

    def _put_container(self, call: Call) -> Response:
        self._authorise(call, "wc")
        if not self._blobs.create_container(call["container"]):
            raise StorageError(
                409, "ContainerAlreadyExists", "The specified container already exists."
            )
        return Response(status=201)

    def _get_container(self, call: Call) -> Response:
        if call.query.get("comp") == "list":
            self._authorise(call, "l")
            self._require_container(call)
            return self._list(call)
        self._authorise(call, "rl")
        self._require_container(call)
        return Response(headers={"x-ms-lease-state": "available"})

    def _list(self, call: Call) -> Response:
        prefix, marker = call.query.get("prefix", ""), call.query.get("marker", "")
        delimiter = call.query.get("delimiter")
        wanted = call.query.get("maxresults", str(LIST_SIZE))
        if not wanted.isdecimal() or int(wanted) < 1:
            raise _bad_query("maxresults", wanted)
        size = min(int(wanted), LIST_SIZE)
        with_metadata = "metadata" in call.query.get("include", "")
        entries: dict[str, str] = {}
        for blob in self._blobs.list(call["container"], prefix):
            folder, found, _ = blob.name[len(prefix) :].partition(delimiter or "\0")
            if delimiter and found:
                name = f"{prefix}{folder}{delimiter}"
                entries[name] = f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>"
            else:
                entries[blob.name] = _listed(blob, with_metadata)
        names = [name for name in sorted(entries) if name >= marker]
        following = names[size] if len(names) > size else ""
        text = (
            '<?xml version="1.0" encoding="utf-8"?>'
            f'<EnumerationResults ServiceEndpoint="https://{self._account.blob_host}/" '
            f'ContainerName="{escape(call["container"])}"><Prefix>{escape(prefix)}</Prefix>'
            f"<Blobs>{''.join(entries[name] for name in names[:size])}</Blobs>"
            f"<NextMarker>{escape(following)}</NextMarker></EnumerationResults>"
        )
        return Response(text, content_type="application/xml")


def _headers(blob: Blob) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "Content-MD5": blob.md5,
        "ETag": f'"{blob.etag}"',
        "Last-Modified": formatdate(blob.modified, usegmt=True),
        "x-ms-creation-time": formatdate(blob.created, usegmt=True),
        "x-ms-blob-type": "BlockBlob",
        "x-ms-lease-state": "available",
        "x-ms-lease-status": "unlocked",
        "x-ms-server-encrypted": "true",
        **{f"{METADATA}{name}": value for name, value in blob.metadata.items()},
    }


def _written(blob: Blob, status: int, *, md5: str | None = None) -> Response:
    return Response(
        status=status,
        headers={
            "ETag": f'"{blob.etag}"',
            "Last-Modified": formatdate(blob.modified, usegmt=True),
            "Content-MD5": md5 or blob.md5,
            "x-ms-request-server-encrypted": "true",
        },
    )


def _listed(blob: Blob, with_metadata: bool) -> str:
    metadata = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in blob.metadata.items())
    return (
        f"<Blob><Name>{escape(blob.name)}</Name><Properties>"
        f"<Creation-Time>{formatdate(blob.created, usegmt=True)}</Creation-Time>"
        f"<Last-Modified>{formatdate(blob.modified, usegmt=True)}</Last-Modified>"
        f"<Etag>{blob.etag}</Etag><Content-Length>{blob.size}</Content-Length>"
        f"<Content-Type>{escape(blob.content_type)}</Content-Type>"
        f"<Content-MD5>{blob.md5}</Content-MD5><BlobType>BlockBlob</BlobType>"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
        "<ServerEncrypted>true</ServerEncrypted></Properties>"
        + (f"<Metadata>{metadata}</Metadata>" if with_metadata else "")
        + "</Blob>"
    )


def _no_access(reason: str) -> StorageError:
    return StorageError(
        401,
        "NoAuthenticationInformation",
        f"Server failed to authenticate the request: {reason}.",
    )


def _bad_query(name: str, value: str) -> StorageError:
    return StorageError(
        400, "InvalidQueryParameterValue", f"'{value}' is not a value of the parameter {name}."
    )


def _unsupported(what: str) -> StorageError:
    return StorageError(501, "NotImplemented", f"The emulator does not do {what}.")
