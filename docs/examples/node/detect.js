'use strict';
// Runs one detection on a Lanner server, from sending the scene to deleting what the server kept.
//
//     npm ci
//     LANNER_TOKEN=... node detect.js localhost:50051 airport.tif aircraft aircraft.geojson
//
// aircraft.geojson is the result as the server writes it; aircraft.geojsonl has the same features
// as they came, one a line. LANNER_TOKEN is for servers that ask for a token.

const { createHash } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { pipeline } = require('node:stream/promises');

const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const { getProtoPath } = require('google-proto-files');

const PIECE_BYTES = 1 << 20; // of a scene in one message; a message may have 4 MB

const definition = protoLoader.loadSync(
  [
    'lanner/v1/detection_service.proto',
    'lanner/v1/upload_service.proto',
    'google/longrunning/operations.proto',
    'google/rpc/error_details.proto',
  ],
  {
    includeDirs: [path.join(__dirname, '../../../proto'), path.dirname(getProtoPath())],
    json: true, // a google.protobuf.Any becomes the message that it holds, with '@type'
    longs: Number, // counts and sizes are below 2 ** 53
    enums: String,
    defaults: true,
    oneofs: true, // event.event names the case that is set
  },
);
const { lanner, google } = grpc.loadPackageDefinition(definition);

const [address, scene, detector, resultFile] = process.argv.slice(2);
if (!resultFile) {
  console.error('usage: node detect.js ADDRESS SCENE DETECTOR RESULT.geojson');
  process.exit(2);
}

const metadata = new grpc.Metadata();
if (process.env.LANNER_TOKEN) {
  metadata.set('authorization', `Bearer ${process.env.LANNER_TOKEN}`);
}
// For a server with TLS: grpc.credentials.createSsl().
const credentials = grpc.credentials.createInsecure();
const detections = new lanner.v1.DetectionService(address, credentials);
const uploads = new lanner.v1.UploadService(address, credentials);
const operations = new google.longrunning.Operations(address, credentials);

/** Calls a method that answers with one message. */
function call(client, method, request) {
  return new Promise((resolve, reject) => {
    client[method](request, metadata, { deadline: Date.now() + 60_000 }, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

/** Sends a file in pieces; returns the upload. */
async function send(file) {
  const hash = createHash('sha256');
  await pipeline(fs.createReadStream(file), hash);
  const { name } = await call(uploads, 'createUpload', {
    size: fs.statSync(file).size,
    sha256: hash.digest('hex'),
    fileName: path.basename(file),
  });
  let writer;
  const answer = new Promise((resolve, reject) => {
    writer = uploads.writeUpload(metadata, (error, upload) =>
      error ? reject(error) : resolve(upload),
    );
  });
  let offset = 0;
  for await (const data of fs.createReadStream(file, { highWaterMark: PIECE_BYTES })) {
    if (!writer.write({ name, offset, data })) {
      await Promise.race([once(writer, 'drain'), answer]); // a refusal ends the waiting
    }
    offset += data.length;
  }
  writer.end();
  return answer;
}

/** Events of an operation after a cursor; leaving the loop ends the call. */
async function* watch(name, cursor) {
  const stream = detections.watch({ name, cursor, previews: true }, metadata);
  try {
    yield* stream;
  } finally {
    stream.on('error', () => {}); // that it was cancelled
    stream.cancel();
  }
}

/** Follows an operation to its end; `take` is given the GeoJSON of each final feature, once. */
async function follow(name, take) {
  const previews = new Map(); // features so far, by id
  let cursor = '';
  let cuts = 0;
  for (;;) {
    let parts = []; // of a feature that is too large for one message
    try {
      for await (const event of watch(name, cursor)) {
        if (event.event === 'preview') {
          if (event.preview.replaces) previews.clear();
          event.preview.features.forEach((one) => previews.set(one.id, one));
        } else if (event.event === 'features') {
          event.features.features.forEach((one) => take(one.geojson));
        } else if (event.event === 'chunk') {
          parts.push(event.chunk.part);
          if (!event.chunk.more) {
            take(Buffer.concat(parts).toString());
            parts = [];
          }
        } else if (event.event === 'operation') {
          return { operation: event.operation, previews: previews.size, cuts };
        } // what it does not know, a client skips
        cursor = event.cursor || cursor;
        if (event.cursor && cuts === 0) break; // as if the connection broke
      }
    } catch (error) {
      if (error.code !== grpc.status.UNAVAILABLE) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000)); // the server is away for a moment
    }
    cuts += 1;
  }
}

/** Writes the result to a file; returns its media type. */
async function fetchResult(name, format, file) {
  let mediaType = '';
  await pipeline(
    detections.getResult({ name, format }, metadata),
    async function* (messages) {
      for await (const message of messages) {
        mediaType = message.contentType || mediaType; // the first message alone has it
        yield message.data;
      }
    },
    fs.createWriteStream(file),
  );
  return mediaType;
}

async function main() {
  const list = await call(detections, 'listDetectors', {});
  console.log(`detectors: ${list.detectors.map((one) => `${one.name} ${one.version}`).join(', ')}`);

  const upload = await send(scene);
  console.log(`sent: ${upload.name}, ${upload.offset} bytes, complete: ${upload.complete}`);

  const spec = { scene: { upload: upload.name }, detector: { name: detector } };
  const plan = await call(detections, 'planDetection', { spec });
  console.log(`plan: ${plan.tiles} tiles, ${plan.megapixels} megapixels`);

  const requestId = `${path.basename(scene)}-${upload.name}`; // repeated, it begins nothing new
  const { name } = await call(detections, 'submitDetection', { spec, requestId });
  console.log(`submitted: ${name}`);

  const lines = fs.createWriteStream(`${resultFile}l`);
  const followed = await follow(name, (geojson) => lines.write(`${geojson}\n`));
  lines.end();
  await once(lines, 'close');
  console.log(`watched: ${followed.previews} previews, ${followed.cuts} cuts`);

  const operation = await call(operations, 'getOperation', { name });
  console.log(`state: ${operation.metadata.state}, attempts: ${operation.metadata.attempts}`);
  if (operation.error) {
    const { code, message } = operation.error;
    throw Object.assign(new Error(message), { code, status: operation.error });
  }
  console.log(`features: ${operation.response.summary.featureCount}`);

  const mediaType = await fetchResult(name, 'geojson', resultFile);
  console.log(`result: ${resultFile}, ${mediaType}`);

  await call(operations, 'deleteOperation', { name });
  await call(uploads, 'deleteUpload', { name: upload.name });
  console.log('deleted: operation and upload');
}

/** The google.rpc.Status of a failed call; null where the error is none of Lanner's. */
function statusOf(error) {
  const [packed] = error.metadata?.get('grpc-status-details-bin') ?? [];
  return packed ? definition['google.rpc.Status'].deserialize(packed) : null;
}

/** What an error says: status, reason and message. */
function described(error) {
  if (error.code === undefined) return error.stack;
  const details = (error.status ?? statusOf(error))?.details ?? [];
  const info = details.find((one) => one['@type'].endsWith('/google.rpc.ErrorInfo'));
  const code = grpc.status[error.code] ?? error.code;
  return `${code}${info ? ` (${info.reason})` : ''}: ${error.details ?? error.message}`;
}

main()
  .catch((error) => {
    console.error(described(error));
    process.exitCode = 1;
  })
  .finally(() => [detections, uploads, operations].forEach((one) => one.close()));
