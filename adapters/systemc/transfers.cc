// Transfers cut into bursts: whose turn it is, and what the target answered.
#include "transfers.h"

#include <algorithm>
#include <sstream>

namespace metronome {

std::uint64_t now() { return sc_core::sc_time_stamp().value(); }

std::uint64_t Transfers::add(Transfer transfer) {
  const std::uint64_t id = transfer.id;
  const auto [found, is_new] = open_.emplace(id, transfer);
  if (!is_new) fail("transfer " + std::to_string(id) + " is under way already");
  turns_.push_back(&found->second);
  return (transfer.read.bytes + bytes_ - 1) / bytes_ + (transfer.written.bytes + bytes_ - 1) / bytes_;
}

Burst* Transfers::next() {
  if (turns_.empty() || flying_ >= window_) return nullptr;
  Transfer* of = turns_.front();
  turns_.pop_front();
  // What is read and what is written goes side by side: whichever has less of its share.
  using Wide = unsigned __int128;
  const bool write = of->written.left() && (!of->read.left() || Wide(of->written.asked) * of->read.bytes <
                                                                    Wide(of->read.asked) * of->written.bytes);
  Range& part = write ? of->written : of->read;
  std::uint64_t address = part.address + part.asked, bytes = std::min(bytes_, part.left());
  if (size_) address %= size_, bytes = std::min(bytes, size_ - address);
  part.asked += bytes;
  ++of->flying, ++flying_;
  if (of->read.left() || of->written.left()) turns_.push_back(of);

  if (free_.empty()) {
    all_.push_back(std::make_unique<Burst>());
    all_.back()->data.resize(bytes_);
    free_.push_back(all_.back().get());
  }
  Burst* burst = free_.back();
  free_.pop_back();
  burst->of = of;
  burst->set_command(write ? tlm::TLM_WRITE_COMMAND : tlm::TLM_READ_COMMAND);
  burst->set_address(address);
  burst->set_data_ptr(burst->data.data());
  burst->set_data_length(unsigned(bytes));
  burst->set_streaming_width(unsigned(bytes));
  burst->set_byte_enable_ptr(nullptr);
  burst->set_dmi_allowed(false);
  burst->set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
  return burst;
}

void Transfers::landed(Burst& burst) {
  if (!burst.is_response_ok()) {
    std::ostringstream why;
    why << "the target answered a " << (burst.is_write() ? "write" : "read") << " of " << burst.get_data_length()
        << " bytes at address 0x" << std::hex << burst.get_address() << " with " << burst.get_response_string();
    fail(why.str());
  }
  Transfer& of = *burst.of;
  --of.flying, --flying_;
  if (!of.flying && !of.read.left() && !of.written.left()) ended.emplace(std::max(now(), of.at + 1), of.id);
}

void Transfers::reuse(Burst& burst) {
  burst.reset();
  free_.push_back(&burst);
}

}  // namespace metronome
