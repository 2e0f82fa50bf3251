// A component in C++ that asks another: an accelerator that gathers rows of 64 bytes. An operation is as many rows as
// its first number says, loaded at the port `mem`, eight at a time, and is done `line_ns` after the last has come.
//
// What is asked leaves in `Advanced.requests`, the answers come in `SimulateRequest.answered`. The rules of ports are in
// docs/ports.md. At one moment what has been computed comes first, then answers, then operations.
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "host.h"

namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max(), kLatency = 5000;  // ps
constexpr uint64_t kMaxBatch = 1000, kCredits = 8, kRow = 64;
constexpr uint32_t kLoad = 0;
// How many numbers an operation of each kind carries; attention's are followed by pairs.
const std::map<std::string, int> kKinds = {{"gemm", 1},      {"norm", 1},    {"elementwise", 1}, {"moe", 2},
                                           {"embedding", 1}, {"sampler", 1}, {"attention", 4}};

struct Work {
  int64_t at;
  uint64_t id;
  int64_t rows;
  bool operator<(const Work& other) const { return at != other.at ? at < other.at : id < other.id; }
};

struct Session {
  mc::SimulateResponse Advance(const mc::SimulateRequest& request);
  std::string Wrong(const mc::Operations& given, int i, int value) const;
  void Ask(mc::Advanced* advanced);

  std::map<uint32_t, std::string> templates;
  int64_t line = 0, now = 0, free = 0;   // the last operation has ended at `free`
  std::set<Work> waiting;                // in the order in which they are done
  bool busy = false;
  Work current{};
  int64_t began = 0, ends = kNever, asked = 0;
  std::set<uint64_t> on_way;             // requests not answered
};

std::string Session::Wrong(const mc::Operations& given, int i, int value) const {
  auto known = templates.find(given.template_id(i));
  if (known == templates.end()) return "its template was never declared";
  const int count = given.value_count(i), least = kKinds.at(known->second);
  const bool pairs = known->second == "attention" && count > least && (count - least) % 2 == 0;
  if (count != least && !pairs) return "carries too few or too many numbers";
  for (int n = 0; n < count; ++n)
    if (given.value(value + n) < 0) return "carries a negative number";
  return "";
}

// As many rows as there are credits for, now.
void Session::Ask(mc::Advanced* advanced) {
  for (; asked < current.rows && on_way.size() < kCredits; ++asked) {
    mc::Operations* wanted = advanced->mutable_requests();
    wanted->add_template_id(kLoad);
    wanted->add_value_count(2);
    wanted->add_value(kRow);
    wanted->add_value(kRow * asked);
    wanted->add_op_id(asked);  // unlike those on their way; an operation begins anew
    wanted->add_at_ps(now + kLatency);
    advanced->add_request_port(0);
    on_way.insert(asked);
  }
}

mc::SimulateResponse Session::Advance(const mc::SimulateRequest& request) {
  const mc::Operations& given = request.operations();
  const int count = given.template_id_size();
  if (uint64_t(count) > kMaxBatch) return Fault(request.seq(), mc::FAULT_CODE_OVERLOAD, 0, "too many operations at once");
  std::set<Work> fresh;
  std::set<uint64_t> ids;
  for (const Work& one : waiting) ids.insert(one.id);
  if (busy) ids.insert(current.id);
  for (int i = 0, value = 0; i < count; value += given.value_count(i), ++i) {  // all are checked before any is taken
    const uint64_t id = given.op_id_size() ? given.op_id(i) : 0;
    const int64_t at = given.at_ps_size() ? given.at_ps(i) : 0;
    const std::string wrong = Wrong(given, i, value);
    if (!wrong.empty()) return Fault(request.seq(), mc::FAULT_CODE_BAD_OPERATION, id, wrong);
    if (!ids.insert(id).second) return Fault(request.seq(), mc::FAULT_CODE_BAD_OPERATION, id, "is in progress already");
    if (at < now) return Fault(request.seq(), mc::FAULT_CODE_LATE_OPERATION, id, "is older than our time");
    fresh.insert({at, id, std::max<int64_t>(1, given.value(value))});
  }
  const mc::Completions& answered = request.answered();
  std::set<std::pair<int64_t, uint64_t>> back;
  for (int i = 0; i < answered.op_id_size(); ++i) {
    if (!on_way.count(answered.op_id(i)))
      return Fault(request.seq(), mc::FAULT_CODE_BAD_OPERATION, answered.op_id(i), "was not asked, and is answered");
    back.insert({answered.finish_ps(i), answered.op_id(i)});
  }
  waiting.insert(fresh.begin(), fresh.end());

  mc::SimulateResponse answer;
  answer.set_seq(request.seq());
  mc::Advanced* advanced = answer.mutable_advanced();
  int64_t reached = request.grant_ps();
  while (true) {
    const int64_t comes = back.empty() ? kNever : back.begin()->first;
    const int64_t begins = busy || waiting.empty() ? kNever : std::max(waiting.begin()->at, free);
    const int64_t next = std::min({ends, comes, begins});
    if (next > request.grant_ps()) break;
    now = next;
    if (ends == next) {
      Complete(advanced, current.id, began, ends);
      busy = false, free = ends, ends = kNever;
      if (request.stop_at_first_completion()) {
        reached = free;
        break;
      }
    } else if (comes == next) {
      on_way.erase(back.begin()->second);
      back.erase(back.begin());
      Ask(advanced);
      if (on_way.empty()) ends = now + line;
    } else {
      current = *waiting.begin();
      waiting.erase(waiting.begin());
      busy = true, began = now, asked = 0;
      Ask(advanced);
    }
  }
  now = std::max(now, reached);
  advanced->set_reached_ps(now);
  if (ends != kNever) advanced->set_next_event_ps(ends);
  else if (!busy && !waiting.empty()) advanced->set_next_event_ps(std::max(waiting.begin()->at, free));
  return answer;
}

class RowGather final : public Host<Session> {
  Status Describe(ServerContext*, const mc::DescribeRequest*, mc::DescribeResponse* answer) override {
    answer->set_protocol_minor(1);  // since it has ports
    answer->set_name("row-gather");
    answer->set_kind("accelerator");
    answer->set_version("1");
    answer->set_time_policy(mc::TIME_POLICY_FORWARD_ONLY);
    for (const auto& [kind, numbers] : kKinds) answer->add_op_kinds(kind);
    answer->add_features("ports");
    answer->set_memoryless(true);
    answer->set_deterministic(true);
    answer->set_max_batch_ops(kMaxBatch);
    answer->set_summary("rows of 64 bytes, loaded at a port, in C++");
    *answer->add_ports() = Mem();
    auto& schema = *answer->mutable_config_schema()->mutable_fields();
    schema["type"].set_string_value("object");
    auto& properties = *schema["properties"].mutable_struct_value()->mutable_fields();
    (*properties["line_ns"].mutable_struct_value()->mutable_fields())["type"].set_string_value("number");
    return Status::OK;
  }

  Status Configure(ServerContext*, const mc::ConfigureRequest* request, mc::ConfigureResponse* answer) override {
    auto session = std::make_shared<Session>();
    double line_ns = 1;
    for (const auto& [name, value] : request->config().fields()) {
      if (name == "line_ns") line_ns = value.number_value();
      else return Wrong(name, "unknown key; known: line_ns");
    }
    if (!(line_ns >= 0.001)) return Wrong("line_ns", "must be 0.001 or more");
    session->line = std::llrint(line_ns * 1000);
    for (const auto& given : request->templates()) {
      if (!kKinds.count(given.kind())) {
        std::string does;
        for (const auto& [kind, numbers] : kKinds) does += (does.empty() ? "it does " : ", ") + kind;
        return Refuse("{\"component\": \"row-gather\", \"template\": " + std::to_string(given.id()) + ", \"why\": \"" +
                      does + "\"}");
      }
      session->templates[given.id()] = given.kind();
    }
    answer->add_features("ports");
    *answer->add_ports() = Mem();
    return Keep(*request, session, answer);
  }

  static mc::Port Mem() {
    mc::Port port;
    port.set_name("mem");
    port.set_kind("memory");
    mc::Template* load = port.add_templates();
    load->set_id(kLoad);
    load->set_kind("load");
    load->set_layer("row");
    port.set_latency_ps(kLatency);
    port.set_credits(kCredits);
    return port;
  }
};

}  // namespace

int main(int count, char** given) {
  RowGather service;
  return Serve(service, "row-gather", count, given);
}
