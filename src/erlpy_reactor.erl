%% @private
%% The process of a reactor: it has the context on whose thread the connections are served,
%% and hears from the node of their readiness.
-module(erlpy_reactor).
-behaviour(gen_server).

-export([start_link/3, start_default_link/1, reactor/1, stats/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(NEWEST_OTP, 27).
%% How long code of a protocol may take to its end before it is cancelled.
-define(STOP_MS, 2000).

-record(state, {
    id :: term(),
    context :: py_context:context(),
    reactor :: reference(),
    %% The call that serves it; none when that has ended.
    serving :: reference() | none
}).

-spec start_link(term(), py_context:mode(), py_reactor_context:options()) ->
    {ok, pid()} | {error, term()}.
start_link(Id, Mode, Options) ->
    Init = {Id, Mode, Options, now},
    case Options of
        #{name := Name} when is_atom(Name) ->
            gen_server:start_link({local, Name}, ?MODULE, Init, []);
        #{name := Name} ->
            gen_server:start_link(Name, ?MODULE, Init, []);
        #{} ->
            gen_server:start_link(?MODULE, Init, [])
    end.

%% The default one: it is there at once, and what fails is told to those who call it.
-spec start_default_link(py_reactor_context:options()) -> {ok, pid()} | {error, term()}.
start_default_link(#{name := Name} = Options) ->
    gen_server:start_link({local, Name}, ?MODULE, {default, auto, Options, later}, []).

-spec reactor(py_reactor_context:reactor()) -> reference().
reactor(Process) ->
    gen_server:call(Process, reactor, infinity).

-spec stats(py_reactor_context:reactor()) -> py_reactor_context:stats().
stats(Process) ->
    gen_server:call(Process, stats, infinity).

-spec init({term(), py_context:mode(), Options, now | later}) ->
    {ok, #state{}} | {ok, none, {continue, term()}} | {stop, term()} when
    Options :: py_reactor_context:options().
init({Id, Mode, Options, now}) ->
    process_flag(trap_exit, true),
    begin_reactor(Id, Mode, Options);
init({Id, Mode, Options, later}) ->
    process_flag(trap_exit, true),
    {ok, none, {continue, {Id, Mode, Options}}}.

-spec handle_continue({term(), py_context:mode(), py_reactor_context:options()}, none) ->
    {noreply, #state{}} | {stop, {shutdown, {setup, term()}}, none}.
handle_continue({Id, Mode, Options}, none) ->
    case begin_reactor(Id, Mode, Options) of
        {ok, State} -> {noreply, State};
        {stop, Reason} -> {stop, {shutdown, {setup, Reason}}, none}
    end.

begin_reactor(Id, Mode, Options) ->
    case is_supported() andalso py_context:new(#{mode => Mode}) of
        false -> {stop, {not_supported, <<"reactors run on Erlang/OTP 25 to 27">>}};
        {ok, Context} -> set_up(Id, Context, Options);
        {error, Reason} -> {stop, Reason}
    end.

%% Descriptors are watched from the thread that serves them, which ends the node on OTP 29,
%% and has not been tried on 28.
is_supported() ->
    list_to_integer(erlang:system_info(otp_release)) =< ?NEWEST_OTP.

set_up(Id, Context, Options) ->
    case prepare(Context, Options) of
        ok ->
            {ok, Reactor} = py_nif:reactor_new(maps:get(max_connections, Options, 100)),
            case py:spawn_call(Context, 'erlang.reactor', '_serve', [Reactor]) of
                {error, Reason} ->
                    give_up(Context, Reason);
                Ref ->
                    {ok, #state{id = Id, context = Context, reactor = Reactor, serving = Ref}}
            end;
        {error, Reason} ->
            give_up(Context, Reason)
    end.

give_up(Context, Reason) ->
    ok = py_context:destroy(Context),
    {stop, Reason}.

prepare(Context, Options) ->
    case py:call(Context, 'erlang.reactor', '_begin', []) of
        {ok, none} -> run_setup(Context, Options);
        {error, _} = Error -> Error
    end.

run_setup(Context, Options) ->
    case run(Context, Options) of
        ok -> set_factory(Context, Options);
        {error, Reason} -> {error, {setup_code, Reason}}
    end.

run(Context, #{setup_code := Code}) -> py:exec(Context, Code);
run(_Context, #{}) -> ok.

set_factory(_Context, #{app_module := none}) ->
    ok;
set_factory(Context, #{app_module := Module} = Options) ->
    Args = [name(Module), name(maps:get(app_callable, Options, app))],
    case py:call(Context, 'erlang.reactor', '_set_factory', Args) of
        {ok, none} -> ok;
        {error, Reason} -> {error, {app_module, Reason}}
    end;
set_factory(_Context, #{}) ->
    ok.

name(Name) when is_atom(Name) -> {str, atom_to_binary(Name)};
name(Name) -> {str, Name}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(reactor, _From, #state{reactor = Reactor} = State) ->
    {reply, Reactor, State};
handle_call(stats, _From, #state{id = Id, reactor = Reactor} = State) ->
    {reply, (py_nif:reactor_info(Reactor))#{id => Id}, State};
handle_call(Request, _From, State) ->
    {reply, {error, {unknown_request, Request}}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({select, Connection, _Ref, Ready}, State) ->
    ok = py_nif:reactor_ready(Connection, Ready),
    {noreply, State};
handle_info({py_response, Ref, Result}, #state{serving = Ref} = State) ->
    {stop, {reactor_ended, Result}, State#state{serving = none}};
handle_info({'EXIT', _Pid, normal}, State) ->
    {noreply, State};
handle_info({'EXIT', _Pid, Reason}, State) ->
    {stop, Reason, State};
handle_info(_Message, State) ->
    {noreply, State}.

%% What is open is closed by the thread that serves it, or by the library when that has
%% something else to do.
-spec terminate(term(), #state{} | none) -> ok.
terminate(_Reason, none) ->
    ok;
terminate(_Reason, #state{context = Context, reactor = Reactor, serving = Ref}) ->
    ok = py_nif:reactor_close(Reactor),
    _ = [py:await(Ref, ?STOP_MS) || Ref =/= none],
    py_context:destroy(Context).
