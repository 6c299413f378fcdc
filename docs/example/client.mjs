// A chat in a terminal: node client.mjs USER [CHAT]
//
// TOKEN   lets USER in: what `roost token --user USER` prints
// URL     the server, by default ws://localhost:4000/socket
//
// With CHAT it joins the chat, and each line typed is sent there; without, it only listens for notifications.
// /leave leaves the chat and goes on listening. Ctrl-D ends.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { Socket } from "phoenix";
import WS from "ws";

const [user, chat] = process.argv.slice(2);
const { TOKEN: token, URL: url = "ws://localhost:4000/socket" } = process.env;
if (!user || !token) {
  console.error("usage: TOKEN=$(roost token --user USER) node client.mjs USER [CHAT]");
  process.exit(2);
}
const show = (event) => (payload) => console.log(event, JSON.stringify(payload));

const socket = new Socket(url, {
  params: { token, device_unique_id: "terminal", preferred_language: "EN" },
  transport: WS,
});
socket.onError((error) => console.error("not connected:", error.message ?? error));
socket.connect();

const notifications = socket.channel(`notifications:${user}`, {});
notifications.on("new_notification", show("new_notification"));
notifications.on("pending_notification", show("pending_notification"));
notifications.join();

const channel = socket.channel(`chat:${chat}`, {});
if (chat) {
  channel.on("message_sent", show("message_sent"));
  channel.on("receive_message", show("receive_message"));
  channel.join(5000).receive("ok", () => console.log(`in ${chat}`)).receive("error", show("not joined"));
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    if (line === "/leave") channel.leave().receive("ok", () => console.log(`left ${chat}`));
    else if (chat && line) channel.push("send_message", { content: line, mobile_ref_id: randomUUID() });
  })
  .on("close", () => socket.disconnect(() => process.exit(0)));
