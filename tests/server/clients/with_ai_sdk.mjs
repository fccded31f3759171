// Asks with Vercel's AI SDK: `node with_ai_sdk.mjs BASE_URL MODEL`; prints what came as JSON.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import net from "node:net";

const refuse = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const options = Array.isArray(given[0]) ? given[0][0] : given[0];
  if (options.host && !["localhost", "127.0.0.1", "::1"].includes(options.host)) {
    throw new Error(`${options.host} is another machine`);
  }
  return refuse.apply(this, given);
};

const folder = createRequire(join(process.env.GLIMP_NODE_CLIENTS, "package.json"));
const load = async (name) => import(pathToFileURL(folder.resolve(name)));
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
const { generateText, streamText } = await load("ai");

const [baseURL, model] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: "glimp", baseURL, apiKey: "any", includeUsage: true });
const asked = { model: provider(model), system: "Be brief.", prompt: "How many steps are there?", maxRetries: 0 };

const whole = await generateText({ ...asked, temperature: 0 });
const stream = streamText(asked);
let streamed = "";
let streamedThought = "";
for await (const part of stream.fullStream) {
  if (part.type === "text-delta") streamed += part.text;
  if (part.type === "reasoning-delta") streamedThought += part.text;
  if (part.type === "error") throw part.error;
}
let refused = "";
try {
  await generateText({ ...asked, model: provider("gpt-5") });
} catch (error) {
  refused = error.message;
}
console.log(
  JSON.stringify({
    content: whole.text,
    thought: whole.reasoningText,
    finish: whole.finishReason,
    usage: whole.usage.totalTokens,
    streamed,
    "streamed thought": streamedThought,
    "streamed usage": (await stream.usage).outputTokens,
    refused,
  }),
);
