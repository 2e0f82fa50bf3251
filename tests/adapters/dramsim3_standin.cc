// A library with the interface of DRAMsim3's dramsim3.h that behaves as its sources say. `controller.cc` takes into
// queues of trans_queue_size, posts writes (done a cycle later) and merges those to one place, answers a read of what
// waits to be written from there, looks at a request the cycle after it came, and ends a turn of writes at one to what
// waits to be read; `command_queue.cc` keeps a row open for who waits for it; `configuration.cc` leaves with code 255
// where it cannot read its .ini. A channel here has banks with open rows, one bus and refreshes, and writes in turns as
// their queue fills. FAULT, a value of the .ini, is how it fails: crash, spin, silent, exit, odd.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <vector>

namespace dramsim3 {

using Callback = std::function<void(uint64_t)>;

struct Ini {
  std::map<std::string, std::string> values;

  explicit Ini(const std::string& path) {
    std::ifstream file(path);
    if (!file) {
      std::cerr << "Can't load config file - " << path << std::endl;
      std::exit(-1);
    }
    for (std::string line; std::getline(file, line);) {
      const size_t is = line.find('=');
      if (is == std::string::npos) continue;
      const size_t end = line.find_last_not_of(" ", is - 1), begin = line.find_first_not_of(" ", is + 1);
      values[line.substr(0, end + 1)] = begin == std::string::npos ? "" : line.substr(begin);
    }
    const std::string protocol = Text("protocol", "DDR3");
    if (protocol != "HBM" && protocol != "HBM2" && protocol != "DDR3" && protocol != "DDR4") {
      std::cout << "Unkwown/Unsupported DRAM Protocol: " << protocol << " Aborting!" << std::endl;
      std::exit(-1);
    }
  }

  std::string Text(const std::string& name, const std::string& other) const {
    const auto found = values.find(name);
    return found == values.end() ? other : found->second;
  }

  double Real(const std::string& name, double other) const {
    const std::string text = Text(name, "");
    char* end;
    const double found = std::strtod(text.c_str(), &end);
    return end == text.c_str() ? other : found;
  }

  int operator()(const std::string& name, int other) const { return int(Real(name, other)); }
};

struct Request {
  uint64_t address, came;
  int bank;
  uint64_t row;
  bool write;
};

struct Channel {
  std::vector<Request> reads, writes;
  std::vector<std::pair<uint64_t, Request>> returning;
  std::vector<int64_t> open, ready, opened;
  uint64_t bus = 0, refreshed = 0;
  bool draining = false;
};

class MemorySystem {
 public:
  MemorySystem(const std::string& path, const std::string&, Callback read, Callback write)
      : ini_(path), read_(read), write_(write), fault_(ini_.Text("FAULT", "")) {
    hbm_ = ini_.Text("protocol", "DDR3")[0] == 'H';
    burst_ = ini_("BL", 8) / 2;
    bytes_ = ini_("bus_width", 64) / 8 * ini_("BL", 8);
    banks_ = ini_("bankgroups", 2) * ini_("banks_per_group", 2);
    columns_ = ini_("columns", 1024) * (hbm_ ? 2 : 1) / ini_("BL", 8);
    queue_ = ini_("trans_queue_size", 32);
    rcd_ = hbm_ ? ini_("tRCDRD", 24) : ini_("tRCD", 10);
    channels_.resize(ini_("channels", 1));
    for (Channel& one : channels_) one.open.assign(banks_, -1), one.ready.assign(banks_, 0), one.opened.assign(banks_, 0);
  }
  ~MemorySystem();
  void ClockTick();
  bool WillAcceptTransaction(uint64_t address, bool write) const;
  bool AddTransaction(uint64_t address, bool write);
  double GetTCK() const;
  int GetBusBits() const;
  int GetBurstLength() const;

 private:
  // Columns, channels, banks, rows: rorabgbachco.
  Channel& At(uint64_t address) const { return channels_[address / bytes_ / columns_ % channels_.size()]; }
  void Step(Channel& one);

  Ini ini_;
  Callback read_, write_;
  std::string fault_;
  bool hbm_;
  int burst_, bytes_, banks_, columns_, queue_, rcd_;
  uint64_t now_ = 0;
  mutable std::vector<Channel> channels_;
};

MemorySystem::~MemorySystem() {}
double MemorySystem::GetTCK() const { return fault_ == "odd" ? -1 : ini_.Real("tCK", 1.0); }
int MemorySystem::GetBusBits() const { return ini_("bus_width", 64); }
int MemorySystem::GetBurstLength() const { return ini_("BL", 8); }

bool MemorySystem::WillAcceptTransaction(uint64_t address, bool write) const {
  const Channel& one = At(address);
  return int((write ? one.writes : one.reads).size()) < queue_;
}

bool MemorySystem::AddTransaction(uint64_t address, bool write) {
  Channel& one = At(address);
  if (!WillAcceptTransaction(address, write)) std::abort();
  const uint64_t along = address / bytes_ / columns_ / channels_.size();
  const Request request{address, now_, int(along % banks_), along / banks_, write};
  const auto same = [&](const Request& other) { return other.address == address; };
  const bool waits = std::any_of(one.writes.begin(), one.writes.end(), same);
  if (write && !waits) one.writes.push_back(request);
  if (write || waits) one.returning.push_back({now_ + 1, request});
  if (!write && !waits) one.reads.push_back(request);
  return true;
}

void MemorySystem::Step(Channel& one) {
  const uint64_t every = ini_("tREFI", 7800);
  if (now_ && now_ % every == 0) {
    std::fill(one.open.begin(), one.open.end(), -1);
    one.refreshed = std::max(now_, one.bus) + ini_("tRP", 10) + ini_("tRFC", 74);
    std::fill(one.ready.begin(), one.ready.end(), int64_t(one.refreshed));
  }
  if (now_ < one.refreshed) return;
  if (one.writes.empty()) one.draining = false;
  else if (int(one.writes.size()) >= queue_ || (one.reads.empty() && int(one.writes.size()) > queue_ / 2)) one.draining = true;
  std::vector<Request>& queue = one.draining ? one.writes : one.reads;
  bool moved = false, opened = false;
  std::vector<bool> seen(banks_);
  for (auto it = queue.begin(); it != queue.end(); ++it) {
    const int bank = it->bank;
    const auto same = [&](const Request& read) { return read.address == it->address; };
    if (it->write && std::any_of(one.reads.begin(), one.reads.end(), same)) {
      one.draining = false;
      return;
    }
    const bool first = !seen[bank], hit = one.open[bank] == int64_t(it->row);
    seen[bank] = true;
    if (it->came >= now_ || one.ready[bank] > int64_t(now_)) continue;
    if (hit && !moved && one.bus <= now_) {
      one.bus = now_ + burst_;
      if (!it->write) one.returning.push_back({now_ + ini_("CL", 12) + burst_, *it});
      queue.erase(it);
      moved = true;
      break;
    }
    const auto hits = [&](const Request& other) { return other.bank == bank && int64_t(other.row) == one.open[bank]; };
    if (!hit && first && !opened && int64_t(now_) >= one.opened[bank] && std::none_of(it, queue.end(), hits)) {
      one.ready[bank] = now_ + rcd_ + (one.open[bank] < 0 ? 0 : ini_("tRP", 10));
      one.open[bank] = it->row;
      one.opened[bank] = now_ + ini_("tRAS", 24);
      opened = true;
    }
  }
}

void MemorySystem::ClockTick() {
  if (now_ == 20 && fault_ == "crash") std::abort();
  if (now_ == 20 && fault_ == "exit") std::exit(3);
  for (volatile bool spins = now_ == 20 && fault_ == "spin"; spins;) {
  }
  for (Channel& one : channels_) {
    for (size_t i = 0; i < one.returning.size();) {
      if (one.returning[i].first > now_ || fault_ == "silent") { ++i; continue; }
      const Request done = one.returning[i].second;
      one.returning.erase(one.returning.begin() + long(i));
      (done.write ? write_ : read_)(done.address);
    }
    Step(one);
  }
  ++now_;
}

MemorySystem* GetMemorySystem(const std::string& path, const std::string& folder, Callback read, Callback write) {
  return new MemorySystem(path, folder, read, write);
}

}  // namespace dramsim3
