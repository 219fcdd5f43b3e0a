%% @private
%% The functions of the C library.  No logic: `py', `py_context', `py_buffer' and `py_channel' check
%% arguments and decide; see `c_src/erlang/nif.c'.
-module(py_nif).

-export([start/9, stop/0, version/0, info/0, priv_dir/0]).
-export([context_new/1, context_destroy/1, context_interrupt/1, is_context/1]).
-export([submit/5, cancel/1]).
-export([callback_take/1, callback_reply/2]).
-export([buffer_new/1, buffer_write/2, buffer_park/3, buffer_unpark/1]).
-export([buffer_close/1, buffer_abort/3, buffer_reason/1, buffer_set_owner/2]).
-export([buffer_monitor/1, buffer_info/1, is_buffer/1]).
-export([channel_new/2, channel_send/2, channel_park/3, channel_unpark/1]).
-export([channel_receive/1, channel_listen/2, channel_look/1, channel_unlisten/1]).
-export([channel_fetch/2, channel_close/1, channel_set_owner/2, channel_info/1]).
-export([reactor_new/1, reactor_handoff/3, reactor_ready/2, reactor_close/1, reactor_info/1]).
-export([dup_fd/1]).

-export_type([job/0, ref/0, request/0, callback/0, answer/0]).
-export_type([buffer_options/0, buffer_data/0, refused/0]).
-export_type([received/0, taken/0]).

-nifs([
    loaded/0,
    start/9, stop/0, version/0, info/0,
    context_new/1, context_destroy/1, context_interrupt/1, is_context/1,
    submit/5, cancel/1,
    callback_take/1, callback_reply/2,
    buffer_new/1, buffer_write/2, buffer_park/3, buffer_unpark/1,
    buffer_close/1, buffer_abort/3, buffer_reason/1, buffer_set_owner/2,
    buffer_monitor/1, buffer_info/1, is_buffer/1,
    channel_new/2, channel_send/2, channel_park/3, channel_unpark/1,
    channel_receive/1, channel_listen/2, channel_look/1, channel_unlisten/1,
    channel_fetch/2, channel_close/1, channel_set_owner/2, channel_info/1,
    reactor_new/1, reactor_handoff/3, reactor_ready/2, reactor_close/1, reactor_info/1,
    dup_fd/1
]).

-on_load(load/0).

-opaque job() :: reference().
%% What the answer comes with.
-type ref() :: reference() | {reference(), pos_integer()}.
-opaque callback() :: reference().
-type answer() ::
    {ok, term()}
    | {error | exit | throw, Reason :: term(), ReasonText :: binary(), Text :: binary()}.
-type name() :: atom() | binary().
-type request() ::
    {call, Module :: name(), Function :: name(), Args :: list(), Kwargs :: map()}
    | {eval, Code :: binary(), Locals :: map()}
    | {exec, Code :: binary()}.

%% Length, largest size, high and low watermark, seekable, closed by its last reader, copies
-type buffer_options() ::
    {non_neg_integer() | undefined, non_neg_integer() | infinity,
     non_neg_integer() | infinity, non_neg_integer() | infinity,
     boolean(), boolean(), boolean()}.
%% A binary that is part of a larger one comes with the size of that.
-type buffer_data() :: binary() | [binary() | {binary(), non_neg_integer()}].
%% Why is told by buffer_reason/1 after `aborted'.
-type refused() :: aborted | {error, closed | too_large | enomem}.

-opaque taken() :: reference().
%% A large message is fetched by channel_fetch/2.
-type received() :: {ok, term()} | {large, taken()} | empty | {error, closed | enomem}.

%% The library says in a message why it refuses; the node itself knows only that it does.
-spec load() -> ok | {error, term()}.
load() ->
    Ref = make_ref(),
    case erlang:load_nif(filename:join(priv_of(loading_file()), "erlpy"), {self(), Ref}) of
        ok ->
            loaded();
        {error, {Kind, _Text}} = Error ->
            receive
                {erlpy_refused, Ref, Why} -> {error, {Kind, Why}}
            after 0 -> Error
            end
    end.

%% Where the new code comes from while it is being loaded: code:which/1 still answers for
%% the code that runs.
loading_file() ->
    case code:where_is_file(atom_to_list(?MODULE) ++ ".beam") of
        non_existing -> code:which(?MODULE);
        File -> File
    end.

%% Beside the ebin folder that this module came from: the name erlpy in the code path may
%% mean another folder.
-spec priv_dir() -> file:filename().
priv_dir() ->
    case code:which(?MODULE) of
        File when is_list(File), File =/= "" -> priv_of(File);
        _ -> priv_of(loading_file())
    end.

%% A module without a file (cover) asks the code path.
priv_of(File) when is_list(File), File =/= "" ->
    Ebin = filename:dirname(filename:absname(File)),
    filename:join(filename:dirname(Ebin), "priv");
priv_of(_) ->
    code:priv_dir(erlpy).

%% Called once the library is loaded: what can only be done then.
-spec loaded() -> ok.
loaded() -> erlang:nif_error(not_loaded).

-spec start(
    none | binary(), [binary()], non_neg_integer(), pos_integer(), pos_integer(),
    non_neg_integer(), pos_integer(), boolean(), non_neg_integer()
) ->
    ok | {error, started | enomem | binary()}.
start(_Executable, _PythonPath, _SpinUs, _Threads, _MaxThreads, _ThreadIdleMs, _Loops, _Uvloop,
      _OwnPools) ->
    erlang:nif_error(not_loaded).

-spec stop() -> ok.
stop() -> erlang:nif_error(not_loaded).

-spec version() -> binary().
version() -> erlang:nif_error(not_loaded).

-spec info() -> py:info().
info() -> erlang:nif_error(not_loaded).

-spec context_new(worker | owngil) ->
    {ok, reference()} | {error, not_started | not_supported | enomem | system_limit}.
context_new(_Mode) -> erlang:nif_error(not_loaded).

-spec context_destroy(reference()) -> ok.
context_destroy(_Context) -> erlang:nif_error(not_loaded).

-spec context_interrupt(reference()) -> ok.
context_interrupt(_Context) -> erlang:nif_error(not_loaded).

-spec is_context(term()) -> boolean().
is_context(_Term) -> erlang:nif_error(not_loaded).

-spec submit(
    pool | reference(), none | ref(), request(), boolean(), callback() | undefined
) ->
    ok | job() | {error, not_started | stopped | destroyed | too_deep | enomem}.
submit(_Target, _Ref, _Request, _Cancellable, _Call) -> erlang:nif_error(not_loaded).

-spec cancel(job()) -> cancelled | replied.
cancel(_Job) -> erlang:nif_error(not_loaded).

-spec callback_take(callback()) -> {Name :: binary(), Args :: list()} | gone.
callback_take(_Call) -> erlang:nif_error(not_loaded).

-spec callback_reply(callback(), answer()) -> ok.
callback_reply(_Call, _Answer) -> erlang:nif_error(not_loaded).

-spec buffer_new(buffer_options()) -> {ok, reference()} | {error, enomem}.
buffer_new(_Options) -> erlang:nif_error(not_loaded).

-spec buffer_write(reference(), buffer_data()) -> ok | busy | refused().
buffer_write(_Buffer, _Data) -> erlang:nif_error(not_loaded).

%% A reference: {py_written, Ref, ok | refused()} will come.
-spec buffer_park(reference(), buffer_data(), reference()) -> ok | reference() | refused().
buffer_park(_Buffer, _Data, _Ref) -> erlang:nif_error(not_loaded).

-spec buffer_unpark(reference()) -> cancelled | replied.
buffer_unpark(_Wait) -> erlang:nif_error(not_loaded).

-spec buffer_close(reference()) -> ok.
buffer_close(_Buffer) -> erlang:nif_error(not_loaded).

-spec buffer_abort(reference(), atom() | binary(), binary()) -> ok.
buffer_abort(_Buffer, _Reason, _Text) -> erlang:nif_error(not_loaded).

-spec buffer_reason(reference()) -> atom() | binary().
buffer_reason(_Buffer) -> erlang:nif_error(not_loaded).

-spec buffer_set_owner(reference(), pid()) -> ok | {error, enomem}.
buffer_set_owner(_Buffer, _Owner) -> erlang:nif_error(not_loaded).

-spec buffer_monitor(reference()) -> reference() | enomem.
buffer_monitor(_Buffer) -> erlang:nif_error(not_loaded).

%% As py_buffer:info(), but `aborted' without its reason.
-spec buffer_info(reference()) -> #{atom() => term()}.
buffer_info(_Buffer) -> erlang:nif_error(not_loaded).

-spec is_buffer(term()) -> boolean().
is_buffer(_Term) -> erlang:nif_error(not_loaded).

-spec channel_new(pos_integer() | infinity, Views :: boolean()) ->
    {ok, reference()} | {error, enomem}.
channel_new(_MaxSize, _Views) -> erlang:nif_error(not_loaded).

-spec channel_send(reference(), term()) -> ok | busy | {error, closed | enomem}.
channel_send(_Channel, _Term) -> erlang:nif_error(not_loaded).

%% A reference: {py_sent, Ref, ok | {error, closed}} will come.
-spec channel_park(reference(), term(), reference()) ->
    ok | reference() | {error, closed | enomem}.
channel_park(_Channel, _Term, _Ref) -> erlang:nif_error(not_loaded).

-spec channel_unpark(reference()) -> cancelled | replied.
channel_unpark(_Wait) -> erlang:nif_error(not_loaded).

-spec channel_receive(reference()) -> received().
channel_receive(_Channel) -> erlang:nif_error(not_loaded).

%% A reference: {py_channel, Ref} will come when there may be something, and then
%% channel_look/1 is due.  `empty': look again now.
-spec channel_listen(reference(), reference()) -> received() | reference().
channel_listen(_Channel, _Ref) -> erlang:nif_error(not_loaded).

-spec channel_look(reference()) -> received().
channel_look(_Wait) -> erlang:nif_error(not_loaded).

-spec channel_unlisten(reference()) -> cancelled | replied.
channel_unlisten(_Wait) -> erlang:nif_error(not_loaded).

%% Sends {py_channel, Ref, Message} to the caller.  Once.
-spec channel_fetch(taken(), reference()) -> ok.
channel_fetch(_Taken, _Ref) -> erlang:nif_error(not_loaded).

-spec channel_close(reference()) -> ok.
channel_close(_Channel) -> erlang:nif_error(not_loaded).

-spec channel_set_owner(reference(), pid()) -> ok | {error, enomem}.
channel_set_owner(_Channel, _Owner) -> erlang:nif_error(not_loaded).

-spec channel_info(reference()) -> py_channel:info().
channel_info(_Channel) -> erlang:nif_error(not_loaded).

-spec reactor_new(pos_integer()) -> {ok, reference()} | {error, enomem}.
reactor_new(_MaxConnections) -> erlang:nif_error(not_loaded).

-spec reactor_handoff(reference(), non_neg_integer(), map()) ->
    ok | {error, py_reactor_context:handoff_error()}.
reactor_handoff(_Reactor, _Fd, _Info) -> erlang:nif_error(not_loaded).

-spec reactor_ready(reference(), ready_input | ready_output) -> ok.
reactor_ready(_Connection, _Ready) -> erlang:nif_error(not_loaded).

-spec reactor_close(reference()) -> ok.
reactor_close(_Reactor) -> erlang:nif_error(not_loaded).

%% As py_reactor_context:stats(), without the id.
-spec reactor_info(reference()) -> #{atom() => non_neg_integer()}.
reactor_info(_Reactor) -> erlang:nif_error(not_loaded).

-spec dup_fd(non_neg_integer()) -> {ok, non_neg_integer()} | {error, badfd | emfile | enfile}.
dup_fd(_Fd) -> erlang:nif_error(not_loaded).
