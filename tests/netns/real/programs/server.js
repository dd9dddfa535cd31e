// Node's HTTP server: files, checksums of what was sent, and events that are sent one at a time, when asked for.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");

const [space, files] = process.argv.slice(2);
const streams = new Map();

http
  .createServer((request, response) => {
    response.setHeader("X-Space", space);
    response.setHeader("X-Route", request.headers["azds-route-as"] || "");
    const [, action, name] = request.url.split("/");
    if (action === "sum") {
      const hash = crypto.createHash("sha256");
      let length = 0;
      request.on("data", (data) => {
        hash.update(data);
        length += data.length;
      });
      request.on("end", () => response.end(`${request.method} ${length} ${hash.digest("hex")}\n`));
    } else if (action === "events") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
      response.write("retry: 1000\n\n");
      streams.set(name, { response, sent: 0 });
      request.on("close", () => streams.delete(name));
    } else if (action === "next" && streams.has(name)) {
      const stream = streams.get(name);
      stream.sent += 1;
      stream.response.write(`id: ${stream.sent}\nevent: tick\ndata: ${space} ${stream.sent}\n\n`);
      response.writeHead(204).end();
    } else if (action === "last" && streams.has(name)) {
      streams.get(name).response.end();
      response.writeHead(204).end();
    } else {
      const file = fs.createReadStream(files + request.url);
      file.on("error", () => response.writeHead(404).end());
      file.on("open", () => file.pipe(response));
    }
  })
  .listen(8080);
