#include "delivery/room_trace.h"

#include "delivery/mls_group_gate.h"
#include "delivery/room_sequencer.h"
#include "mls/wire/message.h"

namespace satsuma::delivery {
namespace {

std::string list(const std::vector<IncarnationId>& people) {
  if (people.empty()) return "-";
  std::string text;
  for (const IncarnationId& who : people) text += (text.empty() ? "" : ",") + who.hex();
  return text;
}

std::vector<IncarnationId> adds_of(ByteView commit) {
  std::vector<IncarnationId> adds;
  const auto message = mls::MLSMessage::decode_as<mls::PublicMessage>(commit);
  const auto* content = message ? std::get_if<mls::Commit>(&message->content.content) : nullptr;
  if (content == nullptr) return adds;
  for (const mls::ProposalOrRef& item : content->proposals) {
    const auto* proposal = std::get_if<mls::Proposal>(&item.value);
    const auto* add = proposal == nullptr ? nullptr : proposal->as<mls::Add>();
    if (add != nullptr) adds.push_back(incarnation_of(add->key_package.leaf_node.signature_key));
  }
  return adds;
}

} // namespace

void RoomTrace::handle_frame(ConnectionId connection, ByteView frame) {
  const auto message = signaling::parse_client_message(frame);
  if (!message) return;
  const std::string id = std::to_string(connection);
  if (const auto* hello = std::get_if<signaling::Hello>(&*message)) {
    cursors_[connection] = hello->cursor;
    return;
  }
  if (!ready_.contains(connection)) return;
  if (const auto* ack = std::get_if<signaling::Ack>(&*message)) {
    lines_.push_back("ack " + id + " " + std::to_string(ack->cursor));
  } else if (const auto* commit = std::get_if<signaling::Commit>(&*message)) {
    lines_.push_back("commit " + id + " " + std::to_string(commit->era) + " " + std::to_string(commit->epoch) + " " + list(adds_of(commit->commit)));
  } else if (std::holds_alternative<signaling::Genesis>(*message)) {
    lines_.push_back("genesis " + id);
  } else if (std::holds_alternative<signaling::Goodbye>(*message)) {
    lines_.push_back("goodbye " + id);
  }
}

void RoomTrace::close(ConnectionId connection) {
  cursors_.erase(connection);
  if (ready_.erase(connection) != 0) lines_.push_back("closed " + std::to_string(connection));
}

void RoomTrace::handle_disconnected(ConnectionId connection) { close(connection); }

void RoomTrace::handle_output(const Output& output) {
  if (const auto* joined = std::get_if<Joined>(&output)) {
    ready_[joined->connection] = true;
    lines_.push_back("joined " + std::to_string(joined->connection) + " " + joined->room + " " + joined->incarnation.hex() + " " +
                     std::to_string(cursors_[joined->connection]));
  } else if (const auto* closed = std::get_if<Close>(&output)) {
    close(closed->connection);
  } else if (const auto* sent = std::get_if<Send>(&output)) {
    const auto message = signaling::parse_server_message(sent->bytes);
    const auto* rejected = message ? std::get_if<signaling::Rejected>(&*message) : nullptr;
    if (rejected != nullptr) lines_.push_back("rejected " + std::to_string(sent->connection) + " " + std::to_string(static_cast<int>(rejected->reason)));
  }
}

void RoomTrace::handle_append(std::string_view room, const StoreAppend& append) {
  const auto record = parse_record(append.record);
  if (!record) return;
  std::string line = "entry " + std::string(room) + " " + std::to_string(append.index) + " ";
  const auto& body = record->entry.body;
  if (const auto* join = std::get_if<signaling::JoinEntry>(&body)) {
    line += "join " + join->who.hex();
  } else if (const auto* gone = std::get_if<signaling::GoneEntry>(&body)) {
    line += "gone " + gone->who.hex();
  } else if (const auto* genesis = std::get_if<signaling::GenesisEntry>(&body)) {
    line += "genesis " + genesis->who.hex();
  } else if (const auto* commit = std::get_if<signaling::CommitEntry>(&body)) {
    line += "commit " + commit->who.hex() + " " + std::to_string(commit->era) + " " + std::to_string(commit->epoch) + " " + list(record->added) + " " +
            list(record->removed);
  }
  lines_.push_back(std::move(line));
}

std::optional<std::string> RoomTrace::poll_line() {
  if (lines_.empty()) return std::nullopt;
  std::string line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

} // namespace satsuma::delivery
