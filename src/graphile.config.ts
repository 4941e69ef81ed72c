import { PgSimplifyInflectionPreset } from "@graphile/simplify-inflection";
import type pg from "pg";
import type {} from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { PostGraphileConnectionFilterPreset } from "postgraphile-plugin-connection-filter";
import { CredentialFiltersPlugin } from "../plugins/credential-filters.ts";
import type { EncryptedColumnsOptions } from "../plugins/encrypted-columns/options.ts";
import { EncryptedColumnsPlugin } from "../plugins/encrypted-columns.ts";
import { EnumNamesPlugin } from "../plugins/enum-names.ts";
import { ExposedTablesPlugin } from "../plugins/exposed-tables.ts";
import { IsoDatetimesPlugin } from "../plugins/iso-datetimes.ts";
import { JsonLiteralsPlugin } from "../plugins/json-literals.ts";
import { MachinesPlugin } from "../plugins/machines.ts";
import { NotFoundPlugin } from "../plugins/not-found.ts";
import { NullableJsonPlugin } from "../plugins/nullable-json.ts";
import { PageLimitsPlugin } from "../plugins/page-limits.ts";
import { StableOrderPlugin } from "../plugins/stable-order.ts";
import { TokensPlugin } from "../plugins/tokens.ts";
import { UserCredentialsPlugin } from "../plugins/user-credentials.ts";
import { charactersLeft } from "./budget.ts";
import type { Cipher } from "./cipher/cipher.ts";
import { GraphiqlPolicyPlugin, graphiqlConfig } from "./graphiql.ts";
import { LARGE_COLUMN, type Limits, MAX_VALUE_BYTES, PLANNING_MS, VALUE_CELLS } from "./limits.ts";
import { maskValue } from "./mask.ts";
import type { TokenSigner } from "./own-tokens.ts";
import type { Session } from "./session.ts";
import type { Claims } from "./token.ts";
import { createWithPgClient } from "./with-pg-client.ts";

/** The tables and columns of the API. An application's `public` schema holds much else. */
export const exposed: Readonly<Record<string, readonly string[] | "all">> = {
  user_credentials: "all",
  users: ["id", "name"],
  workspaces: ["id", "name", "created_at", "updated_at"],
  workspace_members: ["workspace_id", "user_id", "role", "joined_at"],
  activity_logs: ["id", "created_at", "user_id", "workspace_id", "action", "entity_type", "entity_id", "details"],
};

/** Columns of up to 16 KiB. PostgreSQL makes one text of a list in a list, and holds it several times over. */
const large = { columns: { user_credentials: ["metadata", "description"] }, ...LARGE_COLUMN } as const;

// Characters: what a ciphertext has at most beside its value, and what a revealed row has beside its ciphertext.
const SEALED_EXTRA = 128;
const REVEALED_ROW = 512;

/** What the preset is wired of. */
export interface Parts {
  readonly pool: pg.Pool;
  readonly cipher: Cipher;
  readonly session: Session;
  readonly limits: Pick<Limits, "page" | "reveals" | "answerBytes" | "requestMs">;
  readonly mayOpen: EncryptedColumnsOptions["mayOpen"];
  readonly onRevealed: (ids: readonly string[]) => void;
  /** Signs the tokens that are made here; absent: none are. */
  readonly tokenSigner?: TokenSigner | undefined;
  /** For development: follows changes of the database's schema; an address with a superuser. */
  readonly watchAs?: string | undefined;
  /** A token that GraphiQL starts with. */
  readonly graphiqlToken?: string | undefined;
  /** Where to write the schema as SDL. */
  readonly exportSchemaSDLPath?: string | undefined;
}

declare global {
  namespace Grafast {
    interface RequestContext {
      claims?: Claims;
      requestId?: string;
    }
  }
}

/** Wires the API: PostGraphile over the exposed tables, with the encrypted columns and the credentials' mutations. */
export function createPreset({ pool, cipher, session, limits, mayOpen, onRevealed, ...parts }: Parts) {
  const { watchAs, graphiqlToken, exportSchemaSDLPath, tokenSigner } = parts;
  const service = makePgService({
    pool,
    schemas: ["public"],
    pubsub: watchAs !== undefined,
    ...(watchAs !== undefined && { superuserConnectionString: watchAs }),
  });
  const stock = service.adaptor;
  const adaptor = {
    ...stock,
    createWithPgClient: (settings: never, variant?: "SUPERUSER" | null) =>
      variant === "SUPERUSER"
        ? stock.createWithPgClient(settings, variant)
        : createWithPgClient(pool, limits.requestMs),
  };
  const preset: GraphileConfig.Preset = {
    extends: [PostGraphileAmberPreset, PgSimplifyInflectionPreset, PostGraphileConnectionFilterPreset],
    plugins: [
      ExposedTablesPlugin,
      EnumNamesPlugin,
      StableOrderPlugin,
      PageLimitsPlugin,
      EncryptedColumnsPlugin,
      UserCredentialsPlugin,
      CredentialFiltersPlugin,
      MachinesPlugin,
      TokensPlugin,
      NotFoundPlugin,
      GraphiqlPolicyPlugin,
      IsoDatetimesPlugin,
      JsonLiteralsPlugin,
      NullableJsonPlugin,
    ],
    disablePlugins: [
      // `id` is the UUID.
      "NodePlugin",
      // It drops whole types on a naming conflict, without a word.
      "SwallowErrorsPlugin",
      // It leaves only some indexed columns to filter and order by.
      "PgIndexBehaviorsPlugin",
      // Under row level security this order reads the whole table for who sees little.
      "PgOrderByPrimaryKeyPlugin",
      // Filters are one thing: `filter`.
      "PgConditionArgumentPlugin",
      "PgConditionCustomFieldsPlugin",
      "QueryQueryPlugin",
      "MutationPayloadQueryPlugin",
      "PgMutationPayloadEdgePlugin",
      // A list is filtered by its own columns; row level security makes of a filter by another table a slow surprise.
      "PgConnectionArgFilterBackwardRelationsPlugin",
      "PgConnectionArgFilterForwardRelationsPlugin",
      // Its default is no order at all.
      "PgConnectionArgOrderByDefaultValuePlugin",
    ],
    pgServices: [{ ...service, adaptor } as typeof service],
    schema: {
      exposedTables: exposed,
      writableTables: ["user_credentials"],
      pageLimits: limits.page,
      largeColumns: large,
      tokenSigner,
      encryptedColumns: {
        cipher,
        mask: maskValue,
        maxBytes: MAX_VALUE_BYTES,
        maxReveals: limits.reveals,
        // Base64 makes four characters of three bytes.
        maxCiphertext: (settings, values, revealedBytes) =>
          Math.min(
            ((limits.answerBytes - revealedBytes) * 4) / 3 + values * SEALED_EXTRA,
            charactersLeft(settings) - values * REVEALED_ROW,
          ),
        cells: VALUE_CELLS,
        mayOpen,
        onRevealed,
      },
      connectionFilterAllowedOperators: [
        "isNull",
        "equalTo",
        "notEqualTo",
        "in",
        "notIn",
        "lessThan",
        "lessThanOrEqualTo",
        "greaterThan",
        "greaterThanOrEqualTo",
        "includes",
        "includesInsensitive",
        "startsWith",
        "startsWithInsensitive",
        "like",
        "contains",
        "containsKey",
      ],
      ...(exportSchemaSDLPath !== undefined && { exportSchemaSDLPath, sortExport: true }),
    },
    grafast: {
      context: ({ claims, requestId = "" }) => {
        // PostGraphile without settings runs as the login role, in no transaction.
        if (claims === undefined) throw new Error("a request without claims must not come this far");
        return { pgSettings: session(claims, requestId) };
      },
      explain: false,
      timeouts: { planning: PLANNING_MS, execution: limits.requestMs },
    },
    grafserv: {
      graphqlPath: "/graphql",
      graphiqlPath: "/graphiql",
      graphiqlOnGraphQLGET: false,
      watch: watchAs !== undefined,
    },
    ruru: graphiqlConfig(graphiqlToken),
  };
  return preset;
}
