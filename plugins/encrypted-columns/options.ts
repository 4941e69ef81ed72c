import type { Cipher } from "../../src/cipher/cipher.ts";

/** What the plugin needs of the server that uses it: `preset.schema.encryptedColumns`. */
export interface EncryptedColumnsOptions {
  readonly cipher: Cipher;
  /** What may be shown of a value, for the mask column; at most as long as that column. */
  readonly mask: (value: string) => string | null;
  /** The most bytes of UTF-8 that a value may have. */
  readonly maxBytes: number;
  /** The most values that one request may reveal. */
  readonly maxReveals: number;
  /**
   * How many bytes of ciphertext so many values may have all together, by the settings of a request that has revealed so
   * many bytes of values before. More are refused before they are on the record.
   */
  readonly maxCiphertext: (settings: Settings, values: number, revealedBytes: number) => number;
  /** As how many cells a value counts where somebody counts what a document asks for; one where unset. */
  readonly cells?: number;
  /** The last word before a value is opened, whatever the database says: the revealed row and the request's settings. */
  readonly mayOpen: (row: RevealedRow, settings: Settings) => boolean;
  /** Told of the ids whose values were opened, off the request's path. */
  readonly onRevealed: (ids: readonly string[]) => void;
}

/** What a request sets in its transactions. */
export type Settings = Readonly<Record<string, string | undefined>>;

/** A row as the reveal function returns it: the tag's columns by name, as text. */
export interface RevealedRow {
  readonly id: string;
  /** A code of the error catalogue where the row's value is not revealed. */
  readonly refusal: string | null;
  /** Whether the reveal is on the record. */
  readonly recorded: boolean;
  readonly [column: string]: string | boolean | null;
}

declare global {
  namespace GraphileBuild {
    interface SchemaOptions {
      /** For the plugin EncryptedColumnsPlugin. */
      encryptedColumns?: EncryptedColumnsOptions;
    }
  }
}
