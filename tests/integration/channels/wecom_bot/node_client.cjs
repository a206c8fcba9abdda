// The official Node SDK as a foreign client: it speaks to the server whose address it is given, and prints what it saw
// as one line of JSON. Run by test_wecom_bot_foreign.py; the package is found through NODE_PATH.
const crypto = require("crypto");
const { WSClient, generateReqId } = require("@wecom/aibot-node-sdk");

const [wsUrl, botId, secret, chat] = process.argv.slice(2);
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const client = new WSClient({ botId, secret, wsUrl, logger: quiet, heartbeatInterval: 100, maxAuthFailureAttempts: 1 });
const seen = { errors: [], messages: [], events: [] };
const failure = (promise) => promise.then(() => "ok", (error) => error.errmsg || error.message || JSON.stringify(error));

function end() {
  console.log(JSON.stringify(seen));
  client.disconnect();
  setTimeout(() => process.exit(0), 50);
}

client.on("error", (error) => { seen.errors.push(error.message); if (/Max auth/.test(error.message)) end(); });
client.on("event.enter_chat", async (frame) => {
  seen.events.push(frame.body.event.eventtype);
  seen.welcome = await failure(client.replyWelcome(frame, { msgtype: "text", text: { content: "welcome" } }));
});
client.on("event.disconnected_event", () => { seen.events.push("disconnected_event"); setTimeout(end, 50); });
client.on("message.text", async (frame) => {
  seen.messages.push([frame.body.msgid, frame.body.chattype, frame.body.from.userid, frame.body.text.content]);
  const stream = generateReqId("stream");
  seen.reply = [
    await failure(client.replyStream(frame, stream, "working", false)),
    await failure(client.replyStream(frame, stream, "working: done", true)),
    await failure(client.replyMedia(frame, "image", seen.media)),
  ];
  seen.connected = client.isConnected;
  console.log("replied");
});
client.on("authenticated", async () => {
  const send = (to, body) => failure(client.sendMessage(to, body));
  seen.sent = await send(chat, { msgtype: "markdown", markdown: { content: "**hello** from Node" } });
  seen.asText = await send(chat, { msgtype: "text", text: { content: "plain" } });
  seen.nobody = await send("nobody", { msgtype: "markdown", markdown: { content: "x" } });
  const data = crypto.createHash("sha256").update("a").digest();
  const picture = Buffer.concat(Array(40000).fill(data));
  seen.media = (await client.uploadMedia(picture, { type: "image", filename: "panel.png" })).media_id;
  seen.picture = await failure(client.sendMediaMessage(chat, "image", seen.media));
  seen.size = picture.length;
  console.log("ready");
});
client.connect();
