%% @private
%% The map of options of a public function: what is wrong with it, as badarg.
-module(erlpy_options).

-export([check/3, refuse/4, owner/1, own/3]).

-export_type([verdict/0, where/0]).

-type verdict() :: boolean() | unknown | owner_elsewhere.
%% Whose argument the options are, and which; a module alone is its new(Options).
-type where() :: module() | {module(), erlpy_error:call(), pos_integer()}.

%% `Judge' says of each option whether its value will do.
-spec check(where(), map(), fun((atom(), term()) -> verdict())) -> ok.
check(Where, Options, Judge) when is_map(Options) ->
    _ = [judged(Judge(Name, Value), Where, Name, Value, Options)
         || {Name, Value} <- maps:to_list(Options)],
    ok;
check(Where, Options, _Judge) ->
    refuse(Where, Options, "not a map of options", []).

judged(true, _Where, _Name, _Value, _Options) ->
    ok;
judged(false, Where, Name, Value, Options) ->
    refuse(Where, Options, "option ~tp cannot be ~tp", [Name, Value]);
judged(owner_elsewhere, Where, _Name, Value, Options) ->
    refuse(Where, Options, "the owner ~tp is a process of another node", [Value]);
judged(unknown, Where, Name, _Value, Options) ->
    refuse(Where, Options, "~tp is not an option", [Name]).

%% Raises the `badarg'.
-spec refuse(where(), term(), string(), [term()]) -> no_return().
refuse({Module, Who, Position}, _Options, Format, Values) ->
    Text = unicode:characters_to_list(io_lib:format(Format, Values)),
    erlpy_error:badarg_at(Module, Who, Position, Text);
refuse(Module, Options, Format, Values) ->
    refuse({Module, {new, [Options]}, 1}, Options, Format, Values).

%% The verdict on the option `owner'.
-spec owner(term()) -> boolean() | owner_elsewhere.
owner(none) -> true;
owner(Pid) when is_pid(Pid), node(Pid) =/= node() -> owner_elsewhere;
owner(Value) -> is_pid(Value).

%% What has been made, with the owner that the options name.
-spec own({ok, Made} | {error, enomem}, map(), fun((Made, pid()) -> ok | {error, enomem})) ->
    {ok, Made} | {error, enomem}.
own({ok, Thing} = Made, #{owner := Owner}, SetOwner) when is_pid(Owner) ->
    case SetOwner(Thing, Owner) of
        ok -> Made;
        {error, enomem} = Error -> Error
    end;
own(Made, _Options, _SetOwner) ->
    Made.
