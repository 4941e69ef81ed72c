import { z } from "zod";
import type { KeyState } from "../cipher.ts";
import type { TransitKey } from "./access.ts";
import { OpenBaoFault, type UnfitKind } from "./fault.ts";

// The last that a date in four digits has: what comes later is no answer.
const LAST_SECOND = 253_402_300_799;

const answer = z.object({
  derived: z.boolean(),
  convergent_encryption: z.boolean().optional(),
  supports_encryption: z.boolean().optional(),
  latest_version: z.number().int().positive(),
  min_decryption_version: z.number().int().nonnegative(),
  // When each version was made, in seconds since 1970; retired ones are left out. Of a key pair more is told.
  keys: z.record(z.string(), z.union([z.number().int().positive().max(LAST_SECOND), z.object({})])),
});

/** The versions of a Transit key, as OpenBao tells them. */
export interface Versions {
  readonly latest: number;
  /** Why nothing is sealed under it: where it is not derived it ignores a context without a word, and some kinds only sign. */
  readonly unfit: UnfitKind | undefined;
  /** The id of a version; undefined where there is none, or it is retired. */
  idOf(version: number): string | undefined;
  state(keyId: string): KeyState;
}

/** What OpenBao tells of a key that `ask` asks it for; throws an OpenBaoFault, `no-key` where there is none of that name. */
export async function versionsOf(place: TransitKey, ask: () => Promise<unknown>): Promise<Versions> {
  try {
    return readVersions(place, await ask());
  } catch (error) {
    // So that a mistyped name is told from an OpenBao that is away.
    throw error instanceof OpenBaoFault && error.status === 404 ? new OpenBaoFault("no-key", 404) : error;
  }
}

function readVersions(place: TransitKey, data: unknown): Versions {
  const result = answer.safeParse(data);
  if (!result.success) throw new OpenBaoFault("garbage");
  const { latest_version: latest, min_decryption_version: oldest, keys } = result.data;
  // Made once: they are asked for with every value.
  const ids = new Map(
    Object.entries(keys).flatMap(([version, made]) =>
      typeof made === "number" ? [[Number(version), keyIdOf(place, Number(version), made)]] : [],
    ),
  );
  const idOf = (version: number) => ids.get(version);
  return {
    latest,
    unfit: unfitness(result.data),
    idOf,
    state(keyId) {
      const version = versionOf(place, keyId);
      if (version === undefined) return "missing";
      // A backup's versions are all older than what came after it; those of a key that was made anew are not.
      if (version > latest) return madeOf(keyId) < madeOf(idOf(latest) ?? "") ? "replaced" : "too-new";
      if (version < oldest) return "retired";
      return idOf(version) === keyId ? "held" : "replaced";
    },
  };
}

function unfitness({
  derived,
  convergent_encryption: convergent,
  supports_encryption: seals,
}: z.infer<typeof answer>): UnfitKind | undefined {
  if (!derived || seals === false) return "unbound";
  return convergent ? "convergent" : undefined;
}

/** The id of a key's version: mount, key, version, and when that version was made, to the second in UTC. */
function keyIdOf({ mount, key }: TransitKey, version: number, seconds: number): string {
  const made = new Date(seconds * 1_000).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  return `transit:${mount}/${key}:v${version}:${made}`;
}

// As a key id ends with it: in one form, so that what is earlier comes first.
const MADE = "YYYYMMDDTHHMMSSZ";

function madeOf(keyId: string): string {
  return keyId.slice(-MADE.length);
}

/** The version that a key id names; undefined where it is not this key's. */
export function versionOf({ mount, key }: TransitKey, keyId: string): number | undefined {
  const prefix = `transit:${mount}/${key}:v`;
  const [, version] =
    (keyId.startsWith(prefix) && /^([1-9]\d{0,8}):\d{8}T\d{6}Z$/.exec(keyId.slice(prefix.length))) || [];
  return version === undefined ? undefined : Number(version);
}
