// @grpc/grpc-js, `TARGET`: calls without a header and with one, over one connection; prints what each was answered.
"use strict";
const grpc = require("@grpc/grpc-js");

const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure(), { "grpc.enable_http_proxy": 0 });
const raw = (value) => value;

function metadata(space) {
  const metadata = new grpc.Metadata();
  if (space !== "-") metadata.set("azds-route-as", space);
  return metadata;
}

function unary(method, space, text) {
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer.toString()));
    client.makeUnaryRequest(`/test.Test/${method}`, raw, raw, Buffer.from(text), metadata(space), done);
  });
}

// Each message is sent when the one before it has been answered; gives the last answer.
function chat(space, count) {
  return new Promise((resolve, reject) => {
    const call = client.makeBidiStreamRequest("/test.Test/Chat", raw, raw, metadata(space));
    let n = 0;
    let last;
    const next = () => (n < count ? call.write(Buffer.from(String(++n))) : call.end());
    call.on("data", (answer) => {
      last = answer.toString();
      next();
    });
    call.on("error", reject);
    call.on("end", () => resolve(last));
    next();
  });
}

async function main() {
  console.log(await unary("Unary", "-", "one"));
  console.log(await unary("Unary", "azureuser", "two"));
  // At once, on the same connection.
  for (const line of await Promise.all([chat("default", 3), chat("azureuser", 5)])) console.log(line);
  await unary("Fail", "azureuser", "x").catch((error) => console.log(grpc.status[error.code]));
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
