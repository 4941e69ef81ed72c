import type { Facts, Routine } from "./facts.ts";
import { BY_OWNER, columnOf, type Finding, identifier, literal, shown, tableOf } from "./finding.ts";

const FOUNDATION = "bring your application's own, or run what `keyrow setup --print --with-foundation` prints";

/** What an application brings: its tables, and the columns that the credentials depend on. */
const needed = [
  { table: "users", column: "id", unique: true },
  { table: "workspaces", column: "id", unique: true },
  { table: "workspace_members", column: "workspace_id", unique: false },
  { table: "workspace_members", column: "user_id", unique: false },
] as const;

/** The enums of the activity log, and the values that Keyrow writes there. */
export const logged = {
  EntityType: ["CREDENTIAL"],
  ActivityAction: ["CREDENTIAL_CREATED", "CREDENTIAL_ACCESSED", "CREDENTIAL_ROTATED", "CREDENTIAL_REVOKED"],
} as const;

/** What is missing or different of the server and of what has to be in place before the migrations. */
export function objectFindings(facts: Facts): Finding[] {
  return [
    ...serverFindings(facts),
    ...tableFindings(facts),
    ...columnFindings(facts),
    ...functionFindings(facts),
    ...enumFindings(facts),
  ];
}

/** Whether the server is too old for its catalogue to be asked the rest. */
export function versionFinding(version: number): Finding | undefined {
  if (version >= 150_000) return undefined;
  return {
    name: "postgres.version",
    severity: "in the way",
    what: `The server is PostgreSQL ${Math.floor(version / 10_000)}; unique indexes with \`nulls not distinct\` came with 15.`,
    remedy: "upgrade to PostgreSQL 15 or later",
  };
}

function serverFindings({ uuidOssp, setUp, publicOwner, createdByEverybody }: Facts): Finding[] {
  const found: Finding[] = [];
  if (uuidOssp.schema === null && !uuidOssp.available) {
    found.push({
      name: "extension.uuid-ossp",
      severity: "in the way",
      what: "The extension uuid-ossp is not there, and the server has no files to install it from.",
      remedy: "install the server's contrib package",
    });
  }
  if (uuidOssp.schema !== null && uuidOssp.schema !== "public") {
    found.push({
      name: "extension.uuid-ossp",
      severity: "in the way",
      what: `The extension uuid-ossp is in the schema ${shown(uuidOssp.schema)}, not in public.`,
      remedy: 'its owner runs: alter extension "uuid-ossp" set schema public; defaults that use it follow',
    });
  }
  if (!setUp) {
    found.push({
      name: "setup",
      severity: "to run",
      what: "Keyrow's roles or its schema are missing.",
      remedy: "the database's owner, with CREATEROLE, runs first of all what `keyrow setup --print` prints",
    });
  }
  if (publicOwner !== null) {
    found.push({
      name: "schema.public.owner",
      severity: "in the way",
      what: `The schema public belongs to ${shown(publicOwner)}, and the database's owner may not say who creates in it, as the setup does.`,
      remedy: "a superuser runs, in this database: alter schema public owner to pg_database_owner;",
    });
  }
  if (createdByEverybody.length > 0) {
    found.push({
      name: "schema.public",
      severity: "note",
      what: `${shown(createdByEverybody)} may create in the schema public because everybody may; the setup ends that.`,
      remedy: `the schema's owner runs: ${createdByEverybody.map((owner) => `grant create on schema public to ${identifier(owner)};`).join(" ")}`,
    });
  }
  return found;
}

function tableFindings(facts: Facts): Finding[] {
  return ["users", "workspaces", "workspace_members", "activity_logs"].flatMap((name): Finding[] => {
    if (tableOf(facts, name) !== undefined) return [];
    const other = facts.tables.some((one) => one.name === name);
    return [
      {
        name: `table.${name}`,
        severity: "in the way",
        what: other ? `public.${name} is not a table.` : `There is no table public.${name}.`,
        remedy: other ? "give the view or foreign table another name, and the table this one" : FOUNDATION,
      },
    ];
  });
}

function columnFindings(facts: Facts): Finding[] {
  return needed.flatMap(({ table, column, unique }): Finding[] => {
    if (tableOf(facts, table) === undefined) return [];
    const found = columnOf(facts, table, column);
    const wrong =
      found === undefined
        ? "is missing"
        : found.type !== "uuid"
          ? `has the type ${shown(found.type)}, not uuid`
          : unique && !found.unique
            ? "has no primary key or unique index of its own, so nothing can refer to it"
            : undefined;
    if (wrong === undefined) return [];
    const remedy =
      found?.type === "uuid"
        ? `its owner runs: alter table public.${table} add unique (${column})`
        : `the application's migrations give the table a column ${column} of the type uuid`;
    return [
      {
        name: `column.${table}.${column}`,
        severity: "in the way",
        what: `public.${table}.${column} ${wrong}.`,
        remedy,
      },
    ];
  });
}

const wanted = [
  { name: "current_user_id", types: "", returns: "uuid" },
  { name: "is_workspace_admin", types: "uuid, uuid", returns: "boolean" },
] as const;

function functionFindings({ routines }: Facts): Finding[] {
  return wanted.flatMap(({ name, types, returns }): Finding[] => {
    const candidates = routines.filter((one) => one.schema === "public" && one.name === name);
    const found = candidates.find((one) => one.types === types);
    const finding = (severity: Finding["severity"], what: string, remedy: string): Finding[] => [
      { name: `function.${name}`, severity, what: `public.${name}(${types}) ${what}.`, remedy },
    ];
    if (found === undefined) {
      const others = candidates.map((one) => `${name}(${one.types})`);
      return finding(
        "in the way",
        others.length > 0 ? `is missing; there is ${shown(others)}` : "is missing",
        name === "current_user_id" ? FOUNDATION : "make one, as docs/adopt.md shows",
      );
    }
    if (found.returns !== returns) {
      return finding("in the way", `returns ${shown(found.returns)}, not ${returns}`, `make it return ${returns}`);
    }
    if (swapped(found)) {
      return finding(
        "in the way",
        `takes (${shown(found.argumentNames)}); it is asked with the workspace first`,
        "swap its parameters, or give the other order another name",
      );
    }
    return [];
  });
}

function swapped({ name, argumentNames: [first = "", second = ""] }: Routine): boolean {
  return name === "is_workspace_admin" && /user/i.test(first) && /workspace|team|org/i.test(second);
}

function enumFindings({ enums }: Facts): Finding[] {
  return Object.entries(logged).flatMap(([name, labels]): Finding[] => {
    const found = enums.find((one) => one.name === name);
    const missing = labels.filter((label) => !found?.labels.includes(label));
    if (found !== undefined && missing.length === 0) return [];
    const type = `public.${identifier(name)}`;
    return [
      {
        name: `enum.${name}`,
        severity: "to run",
        what: found === undefined ? `There is no enum ${name}.` : `The enum ${name} lacks ${missing.join(", ")}.`,
        remedy: BY_OWNER,
        sql:
          found === undefined
            ? [`create type ${type} as enum (${labels.map(literal).join(", ")});`]
            : missing.map((label) => `alter type ${type} add value if not exists ${literal(label)};`),
      },
    ];
  });
}
