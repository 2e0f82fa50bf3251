// Transfers cut into bursts, those of all transfers in turn.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <tlm>

namespace metronome {

[[noreturn]] void fail(const std::string& why);  // ends the process, having said so

std::uint64_t now();  // ps

// Bytes at an address, of which so many are asked for.
struct Range {
  std::uint64_t address, bytes, asked = 0;
  std::uint64_t left() const { return bytes - asked; }
};

struct Transfer {
  std::uint64_t id, at;
  Range read, written;
  std::uint64_t flying = 0;
};

struct Burst : tlm::tlm_generic_payload {
  Transfer* of;
  std::vector<unsigned char> data;
};

class Transfers {
 public:
  // Bursts of `bytes` at most, so many on their way; addresses wrap at `size` (0: nowhere).
  Transfers(std::uint64_t bytes, std::uint64_t window, std::uint64_t size)
      : bytes_(bytes), window_(window), size_(size) {}

  // A transfer comes, now. Returns how many bursts it has, one that wraps not counted.
  std::uint64_t add(Transfer transfer);

  // The next burst: of the transfer whose turn it is. None if as many as may be are on their way, or all are asked for.
  Burst* next();

  // It was answered, now. A transfer's last one ends it: now, or a picosecond after it came.
  void landed(Burst& burst);
  void reuse(Burst& burst);  // once the target holds it no more

  std::size_t open() const { return open_.size(); }
  std::multimap<std::uint64_t, std::uint64_t> ended;  // when -> id; not taken away yet
  void close(std::uint64_t id) { open_.erase(id); }

 private:
  const std::uint64_t bytes_, window_, size_;
  std::uint64_t flying_ = 0;
  std::map<std::uint64_t, Transfer> open_;
  std::deque<Transfer*> turns_;  // of which something is to be asked for
  std::vector<std::unique_ptr<Burst>> all_;
  std::vector<Burst*> free_;
};

// How bursts get to the target: `wake` when a transfer of so many has come.
class Way {
 public:
  virtual ~Way() = default;
  virtual void wake(std::uint64_t bursts) = 0;
};

class Port;
std::unique_ptr<Way> loosely_timed(Transfers& transfers, Port& port, std::uint64_t window);
std::unique_ptr<Way> approximately_timed(Transfers& transfers, Port& port);

}  // namespace metronome
