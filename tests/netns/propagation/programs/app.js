// Calls another service for every request, on a pool of connections that are kept. Its own code forwards nothing; what it
// runs under may.
"use strict";
const http = require("http");

const agent = new http.Agent({ keepAlive: true });

http
  .createServer((request, response) => {
    const url = process.env.UPSTREAM + request.url;
    const call = http.get(url, { agent }, (answer) => {
      let text = "";
      answer.on("data", (data) => (text += data));
      answer.on("end", () => {
        const body = { name: process.env.NAME, headers: Object.entries(request.headers), upstream: JSON.parse(text) };
        response.setHeader("Content-Type", "application/json");
        response.end(JSON.stringify(body));
      });
    });
    call.on("error", (error) => response.writeHead(502).end(String(error)));
  })
  .listen(8080);
