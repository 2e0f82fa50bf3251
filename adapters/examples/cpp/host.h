// What components in C++ share: sessions by their ids, messages that are repeated, faults, and the program around it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "metronome/component/v1/component.grpc.pb.h"

namespace mc = metronome::component::v1;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

inline Status Refuse(const std::string& json) { return Status(StatusCode::INVALID_ARGUMENT, json); }

inline Status Wrong(const std::string& field, const std::string& allowed) {
  return Refuse("{\"field\": \"" + field + "\", \"value\": null, \"allowed\": \"" + allowed + "\"}");
}

inline mc::SimulateResponse Fault(uint64_t seq, mc::FaultCode code, uint64_t id, const std::string& why) {
  mc::SimulateResponse answer;
  answer.set_seq(seq);
  answer.mutable_fault()->set_code(code);
  answer.mutable_fault()->add_op_id(id);
  answer.mutable_fault()->set_message(why);
  answer.mutable_fault()->set_session_usable(true);
  return answer;
}

inline void Complete(mc::Advanced* advanced, uint64_t id, int64_t start, int64_t finish) {
  advanced->mutable_completions()->add_op_id(id);
  advanced->mutable_completions()->add_start_ps(start);
  advanced->mutable_completions()->add_finish_ps(finish);
  advanced->mutable_completions()->add_provenance(mc::PROVENANCE_MODELLED);
}

// `Session` has `SimulateResponse Advance(const SimulateRequest&)`; a component describes itself and makes sessions.
template <typename Session>
class Host : public mc::ComponentService::Service {
 protected:
  // What the contract wants of every `Configure`, after its session is made.
  Status Keep(const mc::ConfigureRequest& request, std::shared_ptr<Session> session, mc::ConfigureResponse* answer) {
    if (request.session_id().empty()) return Refuse("session_id is empty");
    std::lock_guard<std::mutex> guard(lock_);
    if (!request.validate_only() && !sessions_.emplace(request.session_id(), Kept{session}).second)
      return Status(StatusCode::FAILED_PRECONDITION, "this session is configured already");
    answer->set_config_digest(std::to_string(std::hash<std::string>()(request.config().DebugString())));
    return Status::OK;
  }

 private:
  struct Kept {
    std::shared_ptr<Session> session;
    std::shared_ptr<std::mutex> lock = std::make_shared<std::mutex>();
    std::shared_ptr<mc::SimulateResponse> last = std::make_shared<mc::SimulateResponse>();  // given again if asked again
  };

  Status Simulate(ServerContext*, grpc::ServerReaderWriter<mc::SimulateResponse, mc::SimulateRequest>* stream) override {
    Kept kept;
    mc::SimulateRequest request;
    while (stream->Read(&request)) {
      if (!kept.session) {
        std::lock_guard<std::mutex> guard(lock_);
        auto found = sessions_.find(request.session_id());
        if (found == sessions_.end()) return Status(StatusCode::FAILED_PRECONDITION, "no such session: Configure first");
        kept = found->second;
      }
      std::lock_guard<std::mutex> guard(*kept.lock);
      if (!kept.last->seq() || kept.last->seq() != request.seq()) *kept.last = kept.session->Advance(request);
      if (!stream->Write(*kept.last)) break;
    }
    return Status::OK;
  }

  Status Close(ServerContext*, const mc::CloseRequest* request, mc::CloseResponse* answer) override {
    std::lock_guard<std::mutex> guard(lock_);
    answer->mutable_statistics();
    return sessions_.erase(request->session_id()) ? Status::OK : Status(StatusCode::FAILED_PRECONDITION, "no such session");
  }

  std::mutex lock_;
  std::map<std::string, Kept> sessions_;
};

// Serves on the address that is given (unix:PATH), else on a socket of its own.
inline int Serve(grpc::Service& service, const std::string& name, int count, char** given) {
  std::string listen = count > 1 ? given[1] : "unix:/tmp/" + name + "." + std::to_string(getpid()) + ".sock";
  if (listen.rfind("unix:", 0) != 0) {
    std::cerr << listen << ": not unix:PATH" << std::endl;
    return 2;
  }
  std::string socket = listen.substr(5);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(listen, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server) return 1;
  std::cout << "1|1|unix|" << socket << "|grpc" << std::endl;  // where we are; then only standard input's end matters
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
  server->Shutdown();
  unlink(socket.c_str());
  return 0;
}
