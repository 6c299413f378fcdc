// One user in a process of their own: the client that existing apps have, as the chat protocol's page prints it.
// Everything it hears goes to the test; the test tells it what to do.
import WS from "ws";

const { Socket } = await import(process.env.PHOENIX);
const { ENDPOINT, TOKEN, USER_ID, CHAT, FIRST_MESSAGE } = process.env;
const heard = (event, payload = {}) => process.send({ event, payload });

const socket = new Socket(ENDPOINT, {
  params: { token: TOKEN, device_unique_id: "some-device", preferred_language: "EN" },
  transport: WS,
});
socket.onOpen(() => heard("open"));
socket.onClose((close) => heard("close", { code: close.code }));
socket.connect();

const notifications = socket.channel(`notifications:${USER_ID}`, {});
notifications.join().receive("ok", () => heard("notifications joined"));
notifications.on("new_notification", (p) => heard("new_notification", p));
notifications.on("pending_notification", (p) => heard("pending_notification", p));

let channel;
const enter = () => {
  channel = socket.channel(`chat:${CHAT}`, {});
  channel.join(5000).receive("ok", () => heard("chat joined")).receive("error", (r) => heard("chat refused", r));
  channel.on("message_sent", (p) => heard("message_sent", p));
  channel.on("receive_message", (p) => heard("receive_message", p));
  channel.on("typing", (p) => heard("typing", p));
};
if (CHAT) enter();
// Pushed right behind the join.
if (FIRST_MESSAGE) channel.push("send_message", { content: FIRST_MESSAGE, mobile_ref_id: "123124" });

const commands = {
  push: ({ event, payload }) => channel.push(event, payload).receive("ok", (r) => heard("replied", r)),
  leave: () => channel.leave().receive("ok", () => heard("chat left")),
  go: () => socket.disconnect(() => process.exit(0)),
};
process.on("message", (message) => commands[message.command](message));
process.on("disconnect", () => process.exit(0));
