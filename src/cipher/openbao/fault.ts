/** What makes a key unfit: it binds nothing, or seals what is the same to the same text. */
export type UnfitKind = "unbound" | "convergent";

/**
 * Why a call to OpenBao came to nothing: nobody there, a certificate that does not fit, no answer in time, an answer that is
 * none, a status, no key of that name, or an unfit one.
 */
export type FaultKind = "unreachable" | "certificate" | "timeout" | "garbage" | "status" | "no-key" | UnfitKind;

/** A call that came to nothing. It holds nothing of what was sent or answered. */
export class OpenBaoFault extends Error {
  override readonly name = "OpenBaoFault";
  readonly kind: FaultKind;
  /** HTTP's, where it answered. */
  readonly status: number | undefined;

  constructor(kind: FaultKind, status?: number) {
    super(status === undefined ? kind : `status ${status}`);
    this.kind = kind;
    this.status = status;
  }
}
