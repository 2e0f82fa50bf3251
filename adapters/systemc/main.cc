// A TLM-2.0 target that is told line by line what is read and written, and when (adapters/systemc/session.py asks it).
// Times are picoseconds, sizes bytes:
//
//   set NAME VALUE                       a setting of the target's
//   begin lt|at BURST WINDOW SIZE        = ok | = no NAME WHY: bursts, how many on their way, where addresses wrap
//   anew                                 = ok: the simulation is as it was after `begin`
//   run UNTIL STOP (ID AT MICROSTEP READ WRITTEN ADDRESS)...
//                                        = REACHED NEXT (ID END)...
//
// ADDRESS -1: it lies behind the one that came before it.
// A run goes on to UNTIL, to the first end if STOP, or until nothing is under way: what has not come by then it
// forgets. NEXT: nothing ends before it unless something new comes; 0 if nothing is under way. A failure is said
// ("! why"), and ends the process. `anew` is a fork of the process that has begun: SystemC elaborates once in each.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <tuple>

#include <systemc>

#include "metronome_tlm.h"
#include "transfers.h"

namespace metronome {

void fail(const std::string& why) {
  std::string line = why;
  for (char& letter : line)
    if (letter == '\n' || letter == '\r') letter = ' ';
  std::cout << "! " << line << ", at " << now() << " ps of its time" << std::endl;
  _exit(1);
}

namespace {

// Before the library says who made it, which would be the last words of every failure.
[[maybe_unused]] const int quiet = setenv("SYSTEMC_DISABLE_COPYRIGHT_MESSAGE", "1", 1);

constexpr int kAgain = 77;  // exit code of a simulation that makes way for a new one
constexpr std::uint64_t kNever = ~std::uint64_t(0);

std::string said(const sc_core::sc_report& what) {
  const char* process = what.get_process_name();
  return std::string(what.get_severity() == sc_core::SC_FATAL ? "SC_FATAL" : "SC_ERROR") + " of " +
         what.get_msg_type() + ": " + what.get_msg() + " (" + what.get_file_name() + ":" +
         std::to_string(what.get_line_number()) + (process ? std::string(", in ") + process : "") + ")";
}

void report(const sc_core::sc_report& what, const sc_core::sc_actions& actions) {
  if (what.get_severity() == sc_core::SC_FATAL) fail(said(what));  // the default handler would abort
  sc_core::sc_report_handler::default_handler(what, actions);      // of an error it makes an exception
}

class Simulation {
 public:
  Simulation(const Settings& settings, const std::string& protocol, std::uint64_t burst, std::uint64_t window,
             std::uint64_t size)
      : burst_(burst), transfers_(burst, window, size), port_("top", settings) {
    settings.check_all_read();
    if (!port_.bound()) fail("metronome::target has bound no socket to the port");
    if (sc_core::sc_get_time_resolution() != sc_core::sc_time(1, sc_core::SC_PS))
      fail("the target has set a time resolution of " + sc_core::sc_get_time_resolution().to_string() + ", not 1 ps");
    way_ = protocol == "at" ? approximately_timed(transfers_, port_) : loosely_timed(transfers_, port_, window);
    start(sc_core::SC_ZERO_TIME);
    settle();
  }

  void come(Transfer transfer, std::uint64_t microstep) {
    coming_[{transfer.at, microstep, transfer.id}] = transfer;
  }

  std::string run(std::uint64_t until, bool stop) {
    std::ostringstream ends;
    bool any = false;
    for (;;) {
      settle();
      while (!transfers_.ended.empty() && transfers_.ended.begin()->first <= now()) {
        const auto [at, id] = *transfers_.ended.begin();
        transfers_.ended.erase(transfers_.ended.begin());
        transfers_.close(id);
        ends << ' ' << id << ' ' << at;
        any = true;
      }
      if (busy_ && !transfers_.open()) {
        busy_ = false;
        coming_.clear();
      }
      if ((any && stop) || (!busy_ && coming_.empty())) break;
      const std::uint64_t at = next();
      if (at > until) break;
      if (at > now()) {
        start(sc_core::sc_time::from_value(at - now()));
      } else {  // each on its own, when all else of its moment is done: so it matters not how time is cut
        Transfer transfer = coming_.begin()->second;
        coming_.erase(coming_.begin());
        busy_ = true;
        if (transfer.read.address == kNever) place(transfer);
        way_->wake(transfers_.add(transfer));
      }
    }
    std::ostringstream said;
    said << (any && stop ? now() : until) << ' ' << (busy_ ? promise() : 0) << ends.str();
    return said.str();
  }

 private:
  // What is read, then what is written, each from the next whole burst on.
  void place(Transfer& transfer) {
    for (Range* part : {&transfer.read, &transfer.written}) {
      part->address = free_;
      free_ += (part->bytes + burst_ - 1) / burst_ * burst_;
    }
  }

  // When something happens next, be it that a transfer comes.
  std::uint64_t next() const {
    std::uint64_t at = coming_.empty() ? kNever : std::get<0>(coming_.begin()->first);
    if (!busy_) return at;
    if (!transfers_.ended.empty()) at = std::min(at, transfers_.ended.begin()->first);
    return std::min(at, pending());
  }

  std::uint64_t pending() const {
    return sc_core::sc_pending_activity() ? now() + sc_core::sc_time_to_pending_activity().value() : kNever;
  }

  // What has not come ends a picosecond later at the earliest.
  std::uint64_t promise() const {
    std::uint64_t at = pending();
    if (!transfers_.ended.empty()) at = std::min(at, transfers_.ended.begin()->first);
    if (!coming_.empty()) at = std::min(at, std::get<0>(coming_.begin()->first) + 1);
    if (at == kNever)
      fail("the target never answers (transfers under way: " + std::to_string(transfers_.open()) +
           "; nothing else will happen in its simulation)");
    return at;
  }

  void settle() {
    while (sc_core::sc_pending_activity_at_current_time()) start(sc_core::SC_ZERO_TIME);
  }

  static void start(sc_core::sc_time how_far) {
    sc_core::sc_start(how_far);
    if (sc_core::sc_get_status() == sc_core::SC_STOPPED) fail("the target has called sc_stop");
  }

  const std::uint64_t burst_;
  std::uint64_t free_ = 0;  // address behind the last transfer that came without one
  Transfers transfers_;
  Port port_;
  std::unique_ptr<Way> way_;
  std::map<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>, Transfer> coming_;
  bool busy_ = false;  // something has come, and is under way
};

// Returns in a new process, each time that `anew` is asked for. This one stays as it is, and ends as the last of them.
void branch() {
  for (;;) {
    std::cout.flush();
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) return;
    int status = 0;
    if (child < 0) fail("it could not be forked");
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
      std::signal(WTERMSIG(status), SIG_DFL);
      raise(WTERMSIG(status));
    }
    if (WEXITSTATUS(status) != kAgain) _exit(WEXITSTATUS(status));
  }
}

void serve() {
  Settings settings;
  std::unique_ptr<Simulation> simulation;
  bool branched = false;
  std::string line, word;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    words >> word;
    if (word == "set") {
      std::string name, value;
      words >> name >> std::ws;
      std::getline(words, value);
      settings.set(name, value);
    } else if (word == "begin") {
      std::string protocol;
      std::uint64_t burst, window, size;
      words >> protocol >> burst >> window >> size;
      try {
        simulation = std::make_unique<Simulation>(settings, protocol, burst, window, size);
        std::cout << "= ok" << std::endl;
      } catch (const Refused& refused) {
        std::cout << "= no " << refused.name << ' ' << refused.why << std::endl;
        _exit(0);
      }
    } else if (word == "anew" && simulation) {
      if (branched) _exit(kAgain);
      branch();
      branched = true;
      std::cout << "= ok" << std::endl;
    } else if (word == "run" && simulation) {
      std::uint64_t until, microstep;
      bool stop;
      words >> until >> stop;
      Transfer one;
      std::int64_t address;
      while (words >> one.id >> one.at >> microstep >> one.read.bytes >> one.written.bytes >> address) {
        one.read.address = one.written.address = address < 0 ? kNever : std::uint64_t(address);
        simulation->come(one, microstep);
      }
      const std::string ran = simulation->run(until, stop);  // or it fails, and nothing else is said
      std::cout << "= " << ran << std::endl;
    } else {
      fail("no such question: " + line);
    }
  }
  _exit(0);  // a design is not taken apart: it may have been forked
}

}  // namespace
}  // namespace metronome

int sc_main(int, char**) {
  sc_core::sc_report_handler::set_handler(metronome::report);
  try {
    metronome::serve();
  } catch (const sc_core::sc_report& error) {
    metronome::fail(metronome::said(error));
  } catch (const std::exception& error) {
    metronome::fail(error.what());
  }
  return 1;
}
