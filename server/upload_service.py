"""The service of uploads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from google.protobuf.empty_pb2 import Empty

from lanner.core.errors import Argument, ConfigError, UploadError
from lanner.v1 import upload_service_pb2 as pb
from server.call import Call, Calls
from server.context import CallContext
from server.uploads import Upload, Uploads, id_of


class UploadService:
    """lanner.v1.UploadService.

    Args:
        uploads: where they are kept.
        calls: makes the calls of its methods.
        threads: where files are written.
    """

    def __init__(self, uploads: Uploads, calls: Calls, threads: ThreadPoolExecutor) -> None:
        self._uploads = uploads
        self._calls = calls
        self._threads = threads

    def CreateUpload(  # noqa: N802  the generated code names it
        self, request: pb.CreateUploadRequest, context: CallContext
    ) -> pb.Upload:
        """See proto/lanner/v1/upload_service.proto."""
        with self._calls.begin("CreateUpload", context, "run") as call:
            made = self._uploads.create(
                call.client, request.size, request.sha256, request.file_name
            )
            call.fields.update(upload=made.id, bytes=made.size)
            return self._message(made)

    def GetUpload(  # noqa: N802  the generated code names it
        self, request: pb.GetUploadRequest, context: CallContext
    ) -> pb.Upload:
        """See proto/lanner/v1/upload_service.proto."""
        with self._calls.begin("GetUpload", context, "run") as call:
            return self._message(self._uploads.get(id_of(request.name), call.owner))

    async def WriteUpload(  # noqa: N802  the generated code names it
        self, requests: AsyncIterator[pb.WriteUploadRequest], context: CallContext
    ) -> pb.Upload:
        """See proto/lanner/v1/upload_service.proto."""
        async with self._calls.begin("WriteUpload", context, "run", is_stream=True) as call:
            first = await anext(requests, None)
            if first is None:
                raise ConfigError(Argument("name"), "", "is missing", "send a message with it")

            async def parts() -> AsyncIterator[bytes]:
                at = first.offset + len(first.data)
                yield first.data
                async for one in requests:
                    if one.offset != at:
                        raise UploadError(
                            Argument("offset"),
                            one.offset,
                            f"does not follow the bytes before it, which end at {at}",
                            "send stretches in order",
                        )
                    at += len(one.data)
                    yield one.data

            return self._message(await self.write(first.name, first.offset, parts(), call))

    def DeleteUpload(  # noqa: N802  the generated code names it
        self, request: pb.DeleteUploadRequest, context: CallContext
    ) -> Empty:
        """See proto/lanner/v1/upload_service.proto."""
        with self._calls.begin("DeleteUpload", context, "run") as call:
            self._uploads.delete(id_of(request.name), call.owner)
            return Empty()

    async def write(
        self, name: str, offset: int, parts: AsyncIterator[bytes], call: Call
    ) -> Upload:
        """Take bytes in, by gRPC or HTTP; those that came before an error stay.

        Args:
            name: of the upload.
            offset: of the first byte.
            parts: the bytes.
            call: that brings them.

        Raises:
            LannerError: as of `Uploads.writer` and `Uploads.finish`.
        """
        upload, loop = id_of(name), asyncio.get_running_loop()
        call.fields.update(upload=upload[:64])
        with self._uploads.writer(upload, call.owner, offset) as writer:
            async for data in parts:
                await loop.run_in_executor(self._threads, writer.write, data)
        call.fields.update(bytes=writer.offset - offset)
        return await loop.run_in_executor(self._threads, self._uploads.finish, upload, call.owner)

    def status(self, name: str, context: CallContext) -> Upload:
        """An upload, for HEAD over HTTP."""
        with self._calls.begin("GetUpload", context, "run") as call:
            return self._uploads.get(id_of(name), call.owner)

    def _message(self, upload: Upload) -> pb.Upload:
        found = pb.Upload(
            name=upload.name,
            size=upload.size,
            offset=upload.offset,
            complete=upload.complete,
            file_name=upload.file_name,
        )
        found.create_time.FromMilliseconds(round(upload.created * 1000))
        expires = upload.used + self._uploads.limits.kept_s
        found.expire_time.FromMilliseconds(round(expires * 1000))
        return found
