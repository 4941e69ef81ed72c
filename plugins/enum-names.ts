import type {} from "postgraphile";
import { version } from "../src/version.ts";

const reserved = new Set(["true", "false", "null"]);
const isName = (text: string) => /^(?!__)[A-Za-z_][A-Za-z0-9_]*$/.test(text) && !reserved.has(text);

/** The types of an application's columns are its own, and PostgreSQL lets a label be any text, `team-lead` say. */
export const EnumNamesPlugin: GraphileConfig.Plugin = {
  name: "EnumNamesPlugin",
  description: "Gives every label of an enum a name of its own that GraphQL takes",
  version,
  inflection: {
    replace: {
      enumValue(previous, _preset, value, codec) {
        if (previous === undefined) throw new Error("PgCodecsPlugin is missing");
        const names = new Map<string, string>();
        const taken = new Set(codec.values.map((one) => one.value).filter(isName));
        for (const label of codec.values.map((one) => one.value).filter((one) => !isName(one))) {
          const stock = previous(label, codec)
            .replaceAll(/[^A-Za-z0-9_]/g, "_")
            .replace(/^__+/, "_");
          const near = isName(stock) ? stock : `_${stock}`;
          let own = near;
          for (let n = 2; taken.has(own); n++) own = `${near}${n}`;
          taken.add(own);
          names.set(label, own);
        }
        return names.get(value) ?? previous(value, codec);
      },
    },
  },
};
