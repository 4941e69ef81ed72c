import { KeyrowError } from "../errors.ts";
import type { Log } from "../log.ts";
import { type BreakerState, createBreaker } from "./breaker.ts";
import {
  type Bound,
  type Cipher,
  type KeyState,
  PATIENCE_MS,
  type Patience,
  type Plain,
  type Sealed,
} from "./cipher.ts";
import { type Context, encodeContext } from "./context.ts";
import { decodeBase64, decodeValue, encodeValue } from "./local.ts";
import type { TransitKey } from "./openbao/access.ts";
import type { BatchItem, BatchResult } from "./openbao/batch.ts";
import { OpenBaoFault } from "./openbao/fault.ts";
import { BYTES_PER_MS, createUsableKey, type TransitKeyParts, type UsableKey } from "./openbao/transit-key.ts";
import { type Versions, versionOf } from "./openbao/versions.ts";

/** What a Transit cipher is made of. */
export interface TransitParts extends TransitKeyParts {
  readonly log: Log;
  /** Told of its availability, at first and at each change. */
  readonly onState?: ((state: BreakerState) => void) | undefined;
}

/** A cipher whose key never leaves OpenBao. */
export interface Transit extends Cipher {
  readonly availability: BreakerState;
  /**
   * Brings values under the key's newest version inside OpenBao, so that no plaintext leaves it; each result was opened
   * there once more before it is given. Answers per item, as `open` does.
   */
  rewrap(items: readonly Bound[]): Promise<Array<Sealed | KeyrowError>>;
  /** Ends probes, renewals and connections. */
  close(): Promise<void>;
}

// Another server may have rotated the key, or somebody restored OpenBao from a backup: what is known does not last.
const FRESH_MS = 10_000;
// GCM's nonce and tag: no ciphertext is shorter than its plaintext and these.
const OVERHEAD_BYTES = 28;
// Base64 in its one canonical spelling, without spare bits: OpenBao takes others, and one value must not have many forms.
const STORED =
  /^vault:v([1-9][0-9]{0,8}):((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?)$/;
// What takes no longer is not slow.
const ALLOWED_MS = 50;
// Shorter values may stand in a ciphertext by chance.
const TELLING_BYTES = 8;

/**
 * The cipher of one derived key of OpenBao's Transit; stored as `vault:vN:base64`. Where OpenBao does not answer, calls
 * fail at once until a probe finds it back; what may not run is a key that binds nothing, which `check` refuses.
 */
export function createTransit(parts: TransitParts): Transit {
  const { place, log } = parts;
  const key = createUsableKey(parts);
  const tell = createTeller(log);
  const breaker = createBreaker({
    probe: () => probe(key, place),
    onChange(state, reason) {
      parts.onState?.(state);
      tell(state, reason);
    },
  });

  parts.onState?.(breaker.state);

  /** Runs what calls OpenBao, unless it is known to be away; throws CIPHER_UNAVAILABLE for every fault. */
  async function guarded<T>(
    work: () => Promise<T>,
    items: ReadonlyArray<Plain | Bound> = [],
    patience: Patience = { left: PATIENCE_MS },
  ): Promise<T> {
    if (breaker.state !== "closed" || patience.left <= 0) throw new KeyrowError("CIPHER_UNAVAILABLE");
    const started = performance.now();
    const allowed = ALLOWED_MS + lengthOf(items) / BYTES_PER_MS;
    const { left } = patience;
    try {
      return await inTime(work(), Math.min(left, PATIENCE_MS) + allowed);
    } catch (error) {
      if (!(error instanceof OpenBaoFault)) throw error;
      // Whoever has waited elsewhere already is too impatient to say that it is away.
      if (error.kind !== "timeout" || left >= PATIENCE_MS) breaker.trip(error);
      throw new KeyrowError("CIPHER_UNAVAILABLE");
    } finally {
      patience.left -= Math.max(0, performance.now() - started - allowed);
    }
  }

  async function open(items: readonly Bound[]): Promise<Array<string | KeyrowError>> {
    const answers = await eachHeld(key, place, "decrypt", items, ({ plaintext }) => openedValue(plaintext));
    const refused = items.filter((_, index) => answers[index] instanceof KeyrowError);
    const count = (state: KeyState) => refused.filter(({ keyId }) => key.known?.state(keyId) === state).length;
    const [waiting, replaced] = [count("too-new"), count("replaced")];
    if (waiting > 0)
      log.warn({ values: waiting }, "values wait for a newer state of OpenBao's key; none is lost by that");
    if (replaced > 0) log.error({ values: replaced }, "values don't open: OpenBao's key of this name was made anew");
    return answers;
  }

  return {
    seal: (items, patience) =>
      items.length === 0 ? Promise.resolve([]) : guarded(() => seal(key, items), items, patience),
    async open(items, patience) {
      if (items.length === 0) return [];
      try {
        return await guarded(() => open(items), items, patience);
      } catch (error) {
        if (!(error instanceof KeyrowError)) throw error;
        return items.map(() => error);
      }
    },
    rewrap: (items) => (items.length === 0 ? Promise.resolve([]) : guarded(() => rewrap(key, place, items), items)),
    state(keyId) {
      if (versionOf(place, keyId) === undefined) return "missing";
      return key.known?.state(keyId) ?? "unreachable";
    },
    current: () =>
      guarded(async () => {
        const versions = await key.versions(performance.now() - FRESH_MS);
        return idOf(versions, versions.latest);
      }),
    check: () => guarded(() => probe(key, place)),
    get availability() {
      return breaker.state;
    },
    async close() {
      breaker.close();
      parts.tokens.close();
      await parts.client.close();
    },
  };
}

async function seal(key: UsableKey, items: readonly Plain[]): Promise<Sealed[]> {
  const plain = items.map(({ value }) => encodeValue(value));
  const input = items.map(({ context }, index) => ({
    plaintext: (plain[index] as Buffer).toString("base64"),
    context: contextText(context),
  }));
  const results = await key.run("encrypt", input);
  return named(
    key,
    results.map(({ ciphertext }, index) => checked(ciphertext, plain[index] as Buffer)),
  );
}

async function rewrap(
  key: UsableKey,
  place: TransitKey,
  items: readonly Bound[],
): Promise<Array<Sealed | KeyrowError>> {
  const moved = await eachHeld(key, place, "rewrap", items, ({ ciphertext }, { encrypted }) =>
    rewrapped(ciphertext, encrypted),
  );
  const good = moved.flatMap((encrypted, index) =>
    typeof encrypted === "string" ? [{ encrypted, context: (items[index] as Bound).context }] : [],
  );
  // Wrapped once more, and thrown away: it opens inside OpenBao, or this would fail.
  const proofs = await key.run("rewrap", good.map(asInput));
  const sealed = await named(
    key,
    good.map(({ encrypted }) => encrypted),
  );
  let next = 0;
  return moved.map((one) => {
    if (typeof one !== "string") return one;
    const index = next++;
    return proofs[index]?.error === undefined ? (sealed[index] as Sealed) : new KeyrowError("CANNOT_OPEN");
  });
}

/** Runs the items whose keys OpenBao has, and gives what `read` makes of each answer; for the others, why not. */
async function eachHeld(
  key: UsableKey,
  place: TransitKey,
  operation: "decrypt" | "rewrap",
  items: readonly Bound[],
  read: (result: BatchResult, item: Bound) => string | KeyrowError,
): Promise<Array<string | KeyrowError>> {
  const states = await statesOf(key, place, items);
  const held = items.filter((_, index) => states[index] === "held");
  const results = await key.run(operation, held.map(asInput));
  const isTooNew = ({ error = "" }: BatchResult) => error.includes("version is too new");
  // What is known is of before a restore, then, or of before the key was made anew.
  const versions = results.some(isTooNew) ? await key.versions(performance.now()) : undefined;
  let next = 0;
  return states.map((state, index) => {
    if (state !== "held") return refusal(state);
    const result = results[next++] as BatchResult;
    const item = items[index] as Bound;
    if (result.error === undefined) return read(result, item);
    return refusal((isTooNew(result) && versions?.state(item.keyId)) || "missing");
  });
}

/** The states of the items' keys, asked about anew where they are not as they should be. */
async function statesOf(key: UsableKey, place: TransitKey, items: readonly Bound[]): Promise<KeyState[]> {
  const states = (versions: Versions) => items.map((item) => stateOf(place, item, versions));
  const known = states(await key.versions(Number.NEGATIVE_INFINITY));
  if (known.every((state) => state === "held" || state === "missing")) return known;
  return states(await key.versions(performance.now()));
}

/** `missing` also where a ciphertext is of another version than its key id. */
function stateOf(place: TransitKey, { keyId, encrypted }: Bound, versions: Versions): KeyState {
  const version = parse(encrypted)?.version;
  return version !== undefined && version === versionOf(place, keyId) ? versions.state(keyId) : "missing";
}

/**
 * Ciphertexts, made a moment ago, with the ids of the versions that they name. Those are asked for now: a key that was
 * lost and made anew has the same versions, and values under the old name would not open again; and it may bind nothing.
 */
async function named(key: UsableKey, ciphertexts: readonly string[]): Promise<Sealed[]> {
  const versions = await key.versions(performance.now());
  if (!versions.derived) throw new OpenBaoFault("unbound");
  return ciphertexts.map((encrypted) => ({ encrypted, keyId: idOf(versions, parse(encrypted)?.version ?? 0) }));
}

function idOf(versions: Versions, version: number): string {
  const id = versions.idOf(version);
  if (id === undefined) throw new OpenBaoFault("garbage");
  return id;
}

/**
 * One value sealed, opened, and not opened elsewhere: a key that is not derived ignores the context without a word. Sealed
 * twice it has two forms, or whoever reads the database would see which values are the same.
 */
async function probe(key: UsableKey, place: TransitKey): Promise<void> {
  const { derived } = await key.versions(performance.now());
  if (!derived) throw unbound(place);
  const here: Plain = { context: ["keyrow", "check"], value: "a value to try this key with" };
  const [one, other] = (await seal(key, [here, here])) as [Sealed, Sealed];
  if (one.encrypted === other.encrypted) throw new OpenBaoFault("garbage");
  const [opened, elsewhere] = await key.run("decrypt", [
    asInput({ ...one, context: here.context }),
    asInput({ ...one, context: ["keyrow", "elsewhere"] }),
  ]);
  if (openedValue(opened?.plaintext) !== here.value) throw new OpenBaoFault("garbage");
  if (elsewhere?.error !== undefined) return;
  throw unbound(place);
}

function unbound({ mount, key }: TransitKey): KeyrowError {
  return new KeyrowError("TRANSIT_UNBOUND", {
    message: `The Transit key ${mount}/${key} binds no value to its row: what it seals opens anywhere.`,
    hint: "Make a key with derived=true, and name it by KEYROW_TRANSIT_KEY.",
  });
}

function contextText(context: Context): string {
  return encodeContext(context).toString("base64");
}

function asInput({ context, encrypted }: Pick<Bound, "context" | "encrypted">): BatchItem {
  return { ciphertext: encrypted, context: contextText(context) };
}

/** The version of a stored value, and its bytes in base64; undefined where it is none, in any spelling but one. */
function parse(encrypted: string): { version: number; body: string } | undefined {
  const [, version, body = ""] = STORED.exec(encrypted) ?? [];
  if (version === undefined) return undefined;
  return { version: Number(version), body };
}

/**
 * A ciphertext as it is to be stored, of this plaintext; a fault for anything else that was answered, and for what has the
 * plaintext in it.
 */
function checked(ciphertext: string | undefined, plain: Buffer): string {
  const bytes = bytesOf(ciphertext);
  const isOpen = plain.length >= TELLING_BYTES && bytes.includes(plain);
  if (isOpen || bytes.length < plain.length + OVERHEAD_BYTES) throw new OpenBaoFault("garbage");
  return ciphertext as string;
}

/** The new form of a ciphertext: of the same length, for a plaintext handed back instead is shorter; a fault otherwise. */
function rewrapped(ciphertext: string | undefined, before: string): string {
  if (bytesOf(ciphertext).length !== bytesOf(before).length) throw new OpenBaoFault("garbage");
  return ciphertext as string;
}

function bytesOf(encrypted = ""): Buffer {
  return Buffer.from(parse(encrypted)?.body ?? "", "base64");
}

function openedValue(plaintext: string | undefined): string | KeyrowError {
  try {
    return decodeValue(decodeBase64(plaintext as string));
  } catch {
    return new KeyrowError("CANNOT_OPEN");
  }
}

/** What is too new opens when OpenBao has its newest state again; of the rest, nobody is told why. */
function refusal(state: KeyState): KeyrowError {
  return new KeyrowError(state === "too-new" ? "CIPHER_UNAVAILABLE" : "CANNOT_OPEN");
}

function lengthOf(items: ReadonlyArray<Plain | Bound>): number {
  return items.reduce((sum, item) => sum + ("value" in item ? item.value : item.encrypted).length, 0);
}

/** Waits so many ms at most; throws an OpenBaoFault. What comes later is nobody's. */
async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new OpenBaoFault("timeout")), ms);
    timer.unref();
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    work.catch(() => undefined);
    clearTimeout(timer);
  }
}

/** One line when OpenBao goes and one when it is back; the probes between them are no news. */
function createTeller(log: Log): (state: BreakerState, reason: unknown) => void {
  let told: unknown;
  return (state, reason) => {
    const refused = reason instanceof KeyrowError ? reason : undefined;
    const { kind, status } = reason instanceof OpenBaoFault ? reason : { kind: undefined, status: undefined };
    const news = state === "half-open" ? told : (refused?.code ?? state);
    const level = news === told ? "debug" : refused ? "error" : state === "closed" ? "info" : "warn";
    const message = refused?.message ?? (state === "closed" ? "OpenBao is back" : "OpenBao is away");
    log[level]({ transit: state, ...(kind && { reason: kind }), ...(status && { status }) }, message);
    told = news;
  };
}
