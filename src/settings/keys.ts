import { z } from "zod";
import { duration, optional, path, setting, yesOrNo } from "./setting.ts";

const openBaoAddress = z
  .string()
  .refine((given) => URL.canParse(given) && /^(https?|unix):$/.test(new URL(given).protocol), "it is not an address")
  .refine((given) => {
    if (!URL.canParse(given)) return true;
    const { protocol, hostname, pathname, search, hash, username } = new URL(given);
    if (protocol === "unix:") return hostname === "" && pathname.length > 1;
    return hostname !== "" && pathname === "/" && `${search}${hash}${username}` === "";
  }, "it is more or less than a place");
// As they stand in a URL's path and in `key_id`, which has no other letters.
const transitName = z.string().regex(/^[A-Za-z0-9_.-]{1,60}$/, "it is not a name of letters, digits, _, . and -");
const transitMount = z
  .string()
  .regex(
    /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*$/,
    "it is not a path of letters, digits, _, . and -, without slashes at its ends",
  )
  .refine((given) => given.length <= 80, "it has more than 80 characters");
const secretText = z.string().regex(/^[\x21-\x7e]{1,4096}$/, "it is not plain text without spaces");

/** Keys: the files, OpenBao, and what is done for want of one. */
export const keySettings = {
  KEYROW_KEY_FILE: optional({
    description:
      "The file of the local keys. Where unset, it is keys.json in the data directory, made at the first start; a file named here must exist.",
    parser: path,
    remedy: "give the path of the key file",
  }),
  KEYROW_SIGNING_KEY_FILE: optional({
    description:
      "The PEM file of the key that signs the tokens which Keyrow makes (`keyrow token create`): P-256, the same for all servers. Where unset, `keyrow serve` makes none and takes none, and `keyrow start` has its own in the data directory.",
    parser: path,
    remedy: "give the path of the key's file",
  }),
  BAO_ADDR: optional({
    description:
      "The address of an OpenBao or HashiCorp Vault whose Transit seals and opens values. Where unset, the local keys do.",
    parser: openBaoAddress,
    remedy: "give an address as in https://openbao.example.com:8200 or unix:///run/openbao.sock",
  }),
  BAO_TOKEN: optional({
    description: "The token for OpenBao. It is renewed before it ends. Set this, or BAO_ROLE_ID and BAO_SECRET_ID.",
    parser: secretText,
    remedy: "give the token as OpenBao printed it",
  }),
  BAO_ROLE_ID: optional({
    description: "The role id of the AppRole that fetches tokens for OpenBao.",
    parser: secretText,
    remedy: "give the role id as OpenBao printed it",
  }),
  BAO_SECRET_ID: optional({
    description: "The secret id of that AppRole.",
    parser: secretText,
    remedy: "give the secret id as OpenBao printed it",
  }),
  BAO_CACERT: optional({
    description:
      "The PEM file of the authorities that sign OpenBao's certificate. Where unset, those that Node brings.",
    parser: path,
    remedy: "give the path of a PEM file",
  }),
  BAO_NAMESPACE: optional({
    description: "The namespace of OpenBao that mount and login are in.",
    parser: transitMount,
    remedy: "give its path without slashes at its ends",
  }),
  KEYROW_TRANSIT_MOUNT: setting({
    default: "transit",
    description: "Where OpenBao's Transit is mounted.",
    parser: transitMount,
    remedy: "give the mount's path without slashes at its ends",
  }),
  KEYROW_TRANSIT_KEY: setting({
    default: "keyrow",
    description: "The name of the Transit key: aes256-gcm96, with derived=true.",
    parser: transitName,
    remedy: "give the key's name",
  }),
  KEYROW_TRANSIT_TIMEOUT: setting({
    default: "1s",
    description:
      "How long a call to OpenBao may take. With the default a request that meets one which says nothing is over within two seconds; with more, later by as much and a fifth of it.",
    parser: duration(100, 60_000),
    remedy: "give a time from 100ms to 60s",
  }),
  KEYROW_FALLBACK: setting({
    default: "local",
    description:
      "What happens to new values while OpenBao is away: `local` seals them under a local key, to be moved to Transit later, `refuse` refuses them.",
    parser: z.enum(["local", "refuse"], "it is neither local nor refuse"),
    remedy: "give local or refuse",
  }),
  BAO_BIN: optional({
    description:
      "The program `bao` for `keyrow start --openbao`. Where unset, one on PATH or one that is installed into the data directory.",
    parser: path,
    remedy: "give the path of OpenBao's program",
  }),
  KEYROW_ALLOW_MISSING_KEYS: setting({
    default: "off",
    description:
      "Start although some rows are sealed under keys that neither the key file nor OpenBao has. Those can't be opened.",
    parser: yesOrNo,
    remedy: "give on or off",
  }),
} as const;
