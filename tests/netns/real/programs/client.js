// Node's HTTP client with a keep-alive agent: `get OUT URL SPACE...`, or `many URL SEQUENTIAL PARALLEL`.
"use strict";
const assert = require("assert");
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");

const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });

function call(url, method, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { agent, method, headers, timeout: 20000 }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve({ response, body: Buffer.concat(parts) }));
      response.on("aborted", () => reject(new Error("the response was cut off")));
    });
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", reject);
    request.end(body);
  });
}

async function get(out, url, ...spaces) {
  for (const [n, space] of spaces.entries()) {
    const { response, body } = await call(url, "GET", space === "-" ? {} : { "azds-route-as": space });
    fs.writeFileSync(`${out}.${n}`, body);
    console.log(response.statusCode, response.headers["x-space"], response.headers["x-route"]);
  }
}

async function one(url, n) {
  const space = n % 2 ? "azureuser" : "default";
  const sent = Buffer.alloc(n * 37, n % 251);
  const sum = crypto.createHash("sha256").update(sent).digest("hex");
  const { response, body } = await call(`${url}/sum`, "POST", { "azds-route-as": space }, sent);
  assert.strictEqual(response.statusCode, 200);
  assert.deepStrictEqual([response.headers["x-space"], response.headers["x-route"]], [space, space]);
  assert.strictEqual(body.toString(), `POST ${sent.length} ${sum}\n`);
}

async function many(url, sequential, parallel) {
  for (let n = 0; n < sequential; n++) await one(url, n);
  await Promise.all(Array.from({ length: parallel }, (_, n) => one(url, n)));
}

const [what, ...args] = process.argv.slice(2);
({ get, many })[what](...args).then(
  () => agent.destroy(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
