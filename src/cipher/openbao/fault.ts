/**
 * Why a call to OpenBao came to nothing: nobody there, a certificate that does not fit, no answer in time, an answer that is
 * none, a status, or a key that binds nothing.
 */
export type FaultKind = "unreachable" | "certificate" | "timeout" | "garbage" | "status" | "unbound";

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
