%% @private
%% The process that stands for an application of py_web: it owns the channel whose end is the
%% shutdown in the application's lifespan.
-module(erlpy_web_app).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/3, app/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-record(state, {
    app :: py_web:app(),
    %% none when the application has no lifespan, or it is over
    lifespan :: none | {py_channel:channel(), reference()},
    timeout :: timeout()
}).

-spec start_link(binary(), py_web:app_options(), timeout()) -> {ok, pid()} | {error, term()}.
start_link(Target, #{name := Name} = Options, Timeout) ->
    gen_server:start_link({local, Name}, ?MODULE, {Target, Options, Timeout}, []);
start_link(Target, Options, Timeout) ->
    gen_server:start_link(?MODULE, {Target, Options, Timeout}, []).

-spec app(pid() | atom()) -> py_web:app().
app(Process) ->
    gen_server:call(Process, app, infinity).

-spec init({binary(), py_web:app_options(), timeout()}) -> {ok, #state{}} | {stop, term()}.
init({Target, Options, Timeout}) ->
    process_flag(trap_exit, true),
    case py_web:load(Target, Options) of
        {ok, App} -> started(begin_lifespan(App, Timeout), App, Timeout);
        {error, Reason} -> {stop, Reason}
    end.

started({ok, Lifespan}, App, Timeout) ->
    {ok, #state{app = App, lifespan = Lifespan, timeout = Timeout}};
started({error, Reason}, _App, _Timeout) ->
    {stop, Reason}.

begin_lifespan(#{interface := wsgi}, _Timeout) ->
    {ok, none};
begin_lifespan(#{interface := asgi, target := Target}, Timeout) ->
    {ok, Channel} = py_channel:new(#{owner => self()}),
    Ref = py:async_call('erlang.asgi', lifespan, [{str, Target}, Channel]),
    case is_reference(Ref) andalso py_wait:next(Channel, Ref, Timeout) of
        {message, <<"started">>} ->
            {ok, {Channel, Ref}};
        {answer, {ok, Why}} ->
            ?LOG_DEBUG("~ts: ~ts", [Target, Why]),
            {ok, none};
        {answer, {error, _} = Error} ->
            Error;
        {error, _} = Error ->
            Error;
        false ->
            Ref
    end.

-spec handle_call(app, gen_server:from(), #state{}) -> {reply, py_web:app(), #state{}}.
handle_call(app, _From, #state{app = App} = State) ->
    {reply, App, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({py_response, Ref, Result}, #state{lifespan = {_, Ref}} = State) ->
    {stop, {lifespan_ended, Result}, State#state{lifespan = none}};
handle_info({'EXIT', _Pid, Reason}, State) ->
    {stop, Reason, State};
handle_info(_Message, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{lifespan = none}) ->
    ok;
terminate(_Reason, #state{app = #{target := Target}, lifespan = {Channel, Ref}, timeout = Timeout}) ->
    ok = py_channel:close(Channel),
    case py:async_await(Ref, Timeout) of
        {ok, none} -> ok;
        Failed -> ?LOG_ERROR("~ts: the shutdown of its lifespan: ~tp", [Target, Failed])
    end.
