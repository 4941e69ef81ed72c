import { readFileSync } from "node:fs";
import { codegen } from "@graphql-codegen/core";
import * as operations from "@graphql-codegen/typescript-operations";
import { buildSchema, parse } from "postgraphile/graphql";
import { documents } from "./documents.ts";

const NOTE = "// Generated from schema.graphql by `npx node src/docs.ts --write`; changes made here are lost.\n";

/** The types of what the client's documents take and answer, as TypeScript. */
export async function clientTypes(): Promise<string> {
  const schema = buildSchema(readFileSync(new URL("../../schema.graphql", import.meta.url), "utf8"));
  const [credential = ""] = /fragment Credential[\s\S]*/.exec(documents.Find) ?? [];
  const sources = [...Object.values(documents).map((text) => text.replace(credential, "")), credential];
  const types = await codegen({
    filename: "generated.ts",
    schema: parse("type Query { nothing: Int }"),
    schemaAst: schema,
    documents: sources.map((text, index) => ({ location: `${index}.graphql`, document: parse(text) })),
    config: {
      scalars: { UUID: "string", Datetime: "string", Cursor: "string", JSON: "unknown" },
      immutableTypes: true,
    },
    plugins: [{ operations: {} }],
    pluginMap: { operations },
  });
  return `${NOTE}\n${types}\n${operationTypes()}`;
}

/** An index of the types by the operation's name, so that no document is sent with another's variables. */
function operationTypes(): string {
  const lines = Object.entries(documents).map(([name, text]) => {
    const type = `${name}${text.startsWith("query") ? "Query" : "Mutation"}`;
    return `  readonly ${name}: { readonly data: ${type}; readonly variables: ${type}Variables };`;
  });
  return `/** The operations by name. */\nexport interface Operations {\n${lines.join("\n")}\n}\n`;
}
