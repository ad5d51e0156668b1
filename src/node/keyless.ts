import { Refused } from '../base/errors.ts'
import type { DfsNode } from '../node.ts'

/** What a node without the data key says to users. */
export function keyless (role: string): Pick<DfsNode, 'objects' | 'keys' | 'shares'> {
  const refuse = async (): Promise<never> => { throw new Refused(`this is a ${role} node: it has no data key. Ask a member`) }
  return {
    objects: {
      createBucket: refuse, listBuckets: refuse, bucket: refuse, removeBucket: refuse, setRedundancy: refuse, setBucketSettings: refuse,
      put: refuse, get: refuse, head: refuse, remove: refuse, copy: refuse, setAttributes: refuse, list: refuse, listVersions: refuse,
      uploads: { create: refuse, putPart: refuse, copyPart: refuse, listParts: refuse, list: refuse, complete: refuse, abort: refuse, append: refuse, offset: refuse, finish: refuse },
    },
    keys: { create: refuse, list: refuse, grant: refuse, remove: refuse, find: refuse },
    shares: { create: refuse, list: refuse, revoke: refuse, find: refuse, use: refuse },
  }
}
