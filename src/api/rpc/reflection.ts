import { type DescFile, type DescService, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { Code, type ServiceImpl } from '@connectrpc/connect'
import type { ServerReflection, ServerReflectionRequest, ServerReflectionResponseSchema } from './generated/grpc/reflection/v1/reflection_pb.ts'

/** The standard reflection service: tools such as grpcurl read the interface from the node itself. Off unless asked for; what it tells stands in proto/. */
export function reflectionService (services: readonly DescService[]): ServiceImpl<typeof ServerReflection> {
  const files = new Map(services.flatMap(({ file }) => withImports(file)).map((file) => [`${file.name}.proto`, file]))
  return {
    async * serverReflectionInfo (requests) {
      for await (const request of requests) yield { originalRequest: request, messageResponse: answerTo(request, { services, files }) }
    },
  }
}

type Answer = MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']
interface Known { readonly services: readonly DescService[], readonly files: ReadonlyMap<string, DescFile> }

function answerTo ({ messageRequest: { case: kind, value } }: ServerReflectionRequest, { services, files }: Known): Answer {
  switch (kind) {
    case 'listServices': return { case: 'listServicesResponse', value: { service: services.map(({ typeName }) => ({ name: typeName })) } }
    case 'fileByFilename': return fileAnswer(files.get(value), value)
    case 'fileContainingSymbol': return fileAnswer([...files.values()].find((file) => symbolsOf(file).has(value)), value)
    case 'allExtensionNumbersOfType': return { case: 'allExtensionNumbersResponse', value: { baseTypeName: value, extensionNumber: [] } }
    case 'fileContainingExtension':
    case undefined:
    default: return absent('extension')
  }
}

const absent = (name: string): Answer => ({ case: 'errorResponse', value: { errorCode: Code.NotFound, errorMessage: `there is no ${name.slice(0, 200)}` } })

/** With all that it imports, so that whoever asks needs no second question. */
const fileAnswer = (file: DescFile | undefined, name: string): Answer => file === undefined
  ? absent(name)
  : { case: 'fileDescriptorResponse', value: { fileDescriptorProto: withImports(file).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto)) } }

const withImports = (file: DescFile): DescFile[] => [...new Set([file, ...file.dependencies.flatMap(withImports)])]

const symbolsOf = ({ services, messages, enums }: DescFile): ReadonlySet<string> =>
  new Set([...services, ...services.flatMap(({ methods }) => methods.map((method) => ({ typeName: `${method.parent.typeName}.${method.name}` }))), ...messages, ...enums].map(({ typeName }) => typeName))
