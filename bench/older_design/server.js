// The older design: answer at once, keep everything in memory, send later. For comparison only.
const http = require("node:http");
const waiting = [];
http
  .createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      try {
        const alert = JSON.parse(Buffer.concat(parts));
        const values = (alert.evalMatches || []).map((match) => `${match.metric}: ${match.value}`);
        waiting.push({ text: [alert.title, ...values].join("\n"), at: Date.now() });
      } catch {
        // it answered 200 to anything
      }
      response.end("ok");
    });
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
