// A client that knows Socket.IO and nothing else: it runs code through a relay, channel by channel.
const [url, kernel, token] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };
// This build is for browsers, which have cookies; the WebSocket of Node takes headers instead.
const Plain = globalThis.WebSocket;
globalThis.WebSocket = class extends Plain {
  constructor(address, protocols) { super(address, { protocols, headers }); }
};
const { io } = await import("./socket.io.esm.min.js");
const options = { transports: ["websocket"] };
const session = "a-foreign-session";
const open = (channel) => io(`${url}/${channel}/${kernel}`, { ...options, auth: { session } });
const [shell, iopub, stdin] = ["shell", "iopub", "stdin"].map(open);
const ready = (socket) => new Promise((resolve, reject) => {
  socket.on("ready", resolve);
  socket.on("connect_error", reject);
});
const request = (type, content, buffers = []) => ({
  header: { msg_id: crypto.randomUUID(), msg_type: type, session, username: "node", version: "5.3" },
  parent_header: {}, metadata: {}, content, buffers,
});
const outputs = [];

iopub.on("msg", (message, position) => {
  if (message.header.msg_type === "stream") outputs.push(message.content.text);
  if (message.header.msg_type === "display_data") outputs.push(message.content.data["text/plain"]);
  if (message.header.msg_type === "comm_msg") outputs.push(Buffer.from(message.buffers[0]).toString());
  iopub.emit("ack", position);
});
stdin.on("msg", (message) => {
  const reply = request("input_reply", { value: "ada" });
  stdin.emit("msg", { ...reply, parent_header: message.header });
});

await Promise.all([shell, iopub, stdin].map(ready));
const code = `
from comm import create_comm
print(input("who? "))
display("woo")
create_comm(target_name="t").send({}, buffers=[b"bytes"])
`;
const asked = request("execute_request", { code, silent: false, allow_stdin: true });
const answers = (message) => message.parent_header.msg_id === asked.header.msg_id;
const replied = new Promise((resolve) => shell.on("msg", (message) => answers(message) && resolve(message)));
const idle = new Promise((resolve) => iopub.on("msg", (message) => {
  if (message.content.execution_state === "idle" && answers(message)) resolve();
}));
shell.emit("msg", asked);
const [reply] = await Promise.all([replied, idle]);
console.log(JSON.stringify({ status: reply.content.status, outputs }));
for (const socket of [shell, iopub, stdin]) socket.close();
