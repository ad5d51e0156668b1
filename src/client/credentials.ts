/** What a client is let in with. Without any it may read what anybody may. */
export interface Credentials {
  readonly accessKey?: { readonly id: string, readonly secret: string }
}

export const headerOf = ({ accessKey }: Credentials): string | undefined => accessKey === undefined ? undefined : `Bearer ${accessKey.id}:${accessKey.secret}`
