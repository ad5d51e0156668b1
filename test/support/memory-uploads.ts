import { concat, hexOf } from '../../src/base/bytes.ts'
import { systemRandom } from '../../src/base/random.ts'
import { NoSuchUpload, type ObjectName, type Objects, type Uploads, WrongOffset } from '../../src/objects/index.ts'

interface Going { readonly target: ObjectName, readonly contentType: string | undefined, content: Uint8Array }

/** Appending uploads over `objects.put`, for tests of faces. What is not there fails as it is called. */
export function memoryUploads (objects: Pick<Objects, 'put'>): Uploads & { readonly going: ReadonlyMap<string, Going> } {
  const going = new Map<string, Going>()
  const of = (id: string): Going => {
    const upload = going.get(id)
    if (upload === undefined) throw new NoSuchUpload()
    return upload
  }
  const uploads: Partial<Uploads> = {
    async create (target, { contentType } = {}) {
      const uploadId = hexOf(systemRandom.bytes(32))
      going.set(uploadId, { target, contentType, content: new Uint8Array(0) })
      return { ...target, uploadId, initiated: '', checksum: undefined }
    },
    async append (_target, id, offset, source) {
      const upload = of(id)
      if (upload.content.byteLength !== offset) throw new WrongOffset(upload.content.byteLength)
      for await (const piece of source) upload.content = concat([upload.content, piece])
      return { offset: upload.content.byteLength }
    },
    offset: async (_target, id) => ({ offset: of(id).content.byteLength }),
    async finish (_target, id) {
      const { target, content, contentType } = of(id)
      const info = await objects.put(target, (async function * () { yield content })(), { contentType })
      going.delete(id)
      return { ...info, versionId: id }
    },
    async abort (_target, id) { of(id); going.delete(id) },
  }
  return { ...uploads, going } as Uploads & { readonly going: ReadonlyMap<string, Going> }
}
