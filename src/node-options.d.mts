/** What the servers' Node is started with. */
export declare const nodeOptions: readonly string[];
