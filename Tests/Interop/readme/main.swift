import Foundation
import ParleyClient

let environment = ProcessInfo.processInfo.environment
let client = ParleyClient(address: Address(environment["PARLEY_ADDRESS"]!)!, token: environment["PARLEY_TOKEN"]!)
var draft = InteractionDraft()
draft.content.conversationID = "c-1"
draft.content.customerMessage = "Hello"
print(try await client.record(draft).id)
