/** Who holds a claim; `command` is empty when it can't be read. */
export interface Holder {
  readonly name: string;
  readonly pid: number;
  readonly since: Date;
  readonly command: string;
}

export function processStart(pid: number | string): string | undefined;
export function claim(
  directory: string,
  prefix: string,
  command: string,
): Promise<{ release(): void; holder?: undefined } | { holder: Holder; release?: undefined }>;
export function claimFor(pid: number, directory: string, prefix: string, command: string): void;
export function holders(directory: string, prefix: string): Holder[];
