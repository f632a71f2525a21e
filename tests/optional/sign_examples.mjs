// Prints every example payload of @octokit/webhooks-examples, signed by @octokit/webhooks-methods, as JSON lines.
// Usage: node sign_examples.mjs FOLDER-WITH-NODE_MODULES SECRET
import { createRequire } from "node:module";
import { readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, secret] = process.argv.slice(2);
const require = createRequire(pathToFileURL(join(resolve(folder), "index.js")));
const methods = join(resolve(folder), "node_modules/@octokit/webhooks-methods/package.json");
const entry = require(methods).exports["."];
const target = [entry.node, entry.import, entry.default].find(Boolean);
const file = typeof target === "string" ? target : target.import ?? target.default;
const { sign } = await import(pathToFileURL(join(dirname(methods), file)));
const examples = dirname(require.resolve("@octokit/webhooks-examples/package.json"));

const signed = async (payload) => {
  const body = JSON.stringify(payload);
  return { body, signature: await sign(secret, body) };
};

for (const version of readdirSync(examples, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
  for (const { name, examples: payloads } of require(join(examples, version.name, "index.json"))) {
    for (const payload of payloads) {
      const recorded = await signed(payload);
      // The same as if GitHub sent it now: the examples are years old.
      if (payload.workflow_job) payload.workflow_job.created_at = new Date().toISOString();
      const fresh = await signed(payload);
      process.stdout.write(`${JSON.stringify({ version: version.name, event: name, recorded, fresh })}\n`);
    }
  }
}
